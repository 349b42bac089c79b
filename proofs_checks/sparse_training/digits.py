"""Handwritten digits in a random order, for experiments that train small networks."""

from typing import Any

__all__ = ["shuffled_digits"]


def shuffled_digits(seed: Any) -> tuple[Any, Any]:
    """Return pictures as rows of 64 numbers, and their classes.

    Parameters
    ----------
    seed : int or torch.Generator
        Of the order.

    Returns
    -------
    x : Tensor of float32 of shape (1797, 64)
    y : Tensor of int64 of shape (1797,)
    """
    import torch

    from sparsetheory.gpu import core

    digits = core.datasets.load_digits()
    source = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits.labels), generator=source)
    return torch.from_numpy(digits.images).flatten(1)[order], torch.from_numpy(digits.labels)[order]
