"""Layers whose weights are independent normal variables, and models made of them."""
