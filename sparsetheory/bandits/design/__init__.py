"""Optimal designs: few rows that determine a linear function on all of them."""
