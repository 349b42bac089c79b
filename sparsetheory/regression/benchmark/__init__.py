"""A benchmark of methods on problems whose answer is known."""
