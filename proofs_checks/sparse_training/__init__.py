"""Claims about training with sparse weights."""
