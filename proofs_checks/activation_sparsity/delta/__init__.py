"""Claims about activations that are quantised in time."""
