"""Trainings of two-layer networks on UCI regression: 62,208 configurations, each recorded four times, with its training
time."""
