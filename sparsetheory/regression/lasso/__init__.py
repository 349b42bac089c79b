"""Penalised least squares by working sets: estimators, paths and certificates."""
