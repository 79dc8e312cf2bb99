"""Drawn defects: what choices and the detectability of an enrolment are measured with."""
