"""The affine map that comes closest to a layer: dense, sparse or of low rank, from sums over tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sparsetheory.gpu.core.gram import Gram

__all__ = ["AffineMap", "layer_grams", "linear_map", "low_rank_map", "sparse_map"]


@dataclass(frozen=True, eq=False)
class AffineMap:
    """An affine map ``x @ W + b`` and how far it is from the layer that it stands for."""

    W: Tensor
    b: Tensor
    relative_error: float


def layer_grams(model: nn.Module, batches: Sequence[Any], layers: str | Sequence[str] | None = None) -> dict[str, Gram]:
    """Collect for each layer the Gram matrix of its input, what it adds, and a one."""
    raise NotImplementedError


def linear_map(gram: Gram) -> AffineMap:
    """Return the affine map of least squares."""
    raise NotImplementedError


def sparse_map(gram: Gram, alpha: float) -> AffineMap:
    """Return an affine map whose matrix differs from the identity in few entries."""
    raise NotImplementedError


def low_rank_map(gram: Gram, rank: int) -> AffineMap:
    """Return the best affine map whose matrix differs from the identity by one of low rank."""
    raise NotImplementedError
