"""Albedo and shading, scale and shift, robust fusion of views."""
