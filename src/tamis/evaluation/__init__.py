"""Figures that can be trusted: metrics with intervals, thresholds, calibration, baselines, plots
and the report.
"""
