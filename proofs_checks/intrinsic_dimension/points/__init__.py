"""Claims about point clouds and their labels."""
