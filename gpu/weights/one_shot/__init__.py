"""Masks chosen at once: by saliency at the start, or by magnitude of trained weights."""
