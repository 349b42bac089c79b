"""Skinning weights: discrete codes, blending, and fits from poses."""
