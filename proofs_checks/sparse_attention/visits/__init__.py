"""Claims about attention over kept blocks, and about attention that stops visiting keys."""
