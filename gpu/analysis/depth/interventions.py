"""Layers left out, exchanged or replaced by an affine map while a block of code runs a model, by forward hooks."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

__all__ = ["linearised", "skip_layer", "swapped"]


@contextmanager
def skip_layer(model: nn.Module, i: int | str) -> Iterator[None]:
    """Leave out a layer."""
    raise NotImplementedError
    yield


@contextmanager
def swapped(model: nn.Module, i: int | str, j: int | str) -> Iterator[None]:
    """Exchange two layers."""
    raise NotImplementedError
    yield


@contextmanager
def linearised(model: nn.Module, i: int | str, W: Tensor, b: Tensor | None = None) -> Iterator[None]:
    """Replace a layer by the affine map ``x @ W + b``."""
    raise NotImplementedError
    yield
