"""Kernels of misspecified linear bandits: designs, supports, codes."""
