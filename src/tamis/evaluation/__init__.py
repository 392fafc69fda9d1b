"""Evaluation: metrics with confidence intervals, baselines, model comparison, robustness and the
report.
"""
