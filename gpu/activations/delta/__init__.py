"""Activations as integer codes in time: what changes between frames, and layers that compute only from that."""
