"""Which weights fine-tuning changes, and what precision has to do with it."""
