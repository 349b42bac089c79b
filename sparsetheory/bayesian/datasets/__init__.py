"""Random problems with structured supports, for experiments and tests."""
