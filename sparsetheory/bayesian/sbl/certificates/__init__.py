"""Evidence that learned variances are a stationary point, recomputed from raw data."""
