"""Enrolled versions as bytes: format, checks, calibration, thresholds."""
