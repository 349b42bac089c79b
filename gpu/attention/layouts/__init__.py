"""Attention of video frames: patterns as Kronecker products, and which pattern each head gets."""
