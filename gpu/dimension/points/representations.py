"""Intrinsic dimension of what a layer of a network returns."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from sparsetheory.gpu.dimension.points.estimators import mle_dimension

__all__ = ["representation_dimension"]


def representation_dimension(
    model: nn.Module, layer: str, batches: Iterable[Any], *, estimator: Callable[[Tensor], float] = mle_dimension
) -> float:
    """Estimate the intrinsic dimension of the outputs of a layer."""
    raise NotImplementedError
