"""What runs on a device: it imports the standard library and NumPy, and nothing of this package outside this folder."""
