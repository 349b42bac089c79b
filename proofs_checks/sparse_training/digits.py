"""Handwritten digits in a random order, for experiments that train small networks."""

from typing import Any

__all__ = ["shuffled_digits"]


def shuffled_digits(seed: Any, loader: str = "load_digits") -> tuple[Any, Any]:
    """Return pictures as rows of numbers, and their classes.

    Parameters
    ----------
    seed : int or torch.Generator
        Of the order.
    loader : str
        Name of the function of :mod:`sparsetheory.gpu.core.datasets` that loads them.

    Returns
    -------
    x : Tensor of float32 of shape (n, pixels)
    y : Tensor of int64 of shape (n,)
    """
    import torch

    from sparsetheory.gpu import core

    digits = getattr(core.datasets, loader)()
    source = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits.labels), generator=source)
    return torch.from_numpy(digits.images).flatten(1)[order], torch.from_numpy(digits.labels)[order]
