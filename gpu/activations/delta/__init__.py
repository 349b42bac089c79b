"""Quantised activations of which only changes over time are sent."""
