"""Intrinsic dimension of point clouds from distances to nearest neighbours."""

from typing import Any

__all__ = ["mle_dimension", "twonn_dimension"]


def mle_dimension(X: Any, n_neighbors: int = 20, average: str = "inverse", *, duplicates: str = "error") -> float:
    """Estimate the intrinsic dimension by maximum likelihood."""
    raise NotImplementedError


def twonn_dimension(X: Any, discard: float = 0.1, *, duplicates: str = "error") -> float:
    """Estimate the intrinsic dimension from the ratios of the two smallest distances."""
    raise NotImplementedError
