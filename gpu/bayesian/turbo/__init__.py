"""Turbo-VBI for networks: weights under a prior whose supports cluster."""
