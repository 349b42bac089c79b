"""Regression on random supports: anchors from the design, then a fit of what they leave."""
