"""Keys in order of promise, and rules that stop before the last block of them."""
