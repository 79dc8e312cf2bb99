"""Measurements that are printed as ratios of one run, never asserted on."""
