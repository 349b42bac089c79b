"""Claims about residual networks and their depth."""
