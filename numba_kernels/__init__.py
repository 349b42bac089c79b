"""Compiled functions on plain arrays. They validate nothing and know nothing of estimators."""
