"""Claims about continual learning with a mask for each task."""
