"""Rewards of generated item codes, by how much of the right code they begin with."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import Real, Several

__all__ = ["prefix_reward"]


def prefix_reward(codes: Any, target: Any, levels: Sequence[float] = (0.5, 0.707, 0.866, 0.95)) -> Tensor:
    """Return 1 for the right code, and less for one that only begins as it does.

    Parameters
    ----------
    codes : array-like or Tensor of int, of shape (..., n_levels) or (..., n_levels + 1)
        Generated codes, as many as there are `levels`, and one further token where items share their codes: their
        running number, 0 for none. An answer with a negative entry has no valid code and earns 0.
    target : array-like or Tensor of int, of the same length, broadcast against `codes`
        Codes of the right items.
    levels : sequence of float
        Reward of a common prefix of 1, 2, ... codes, in [0, 1], not falling. By default about the root of the share
        of the code, with the last one below 1: it is earned where all codes are right, but the running number is not.

    Returns
    -------
    Tensor of float of shape (...)
        In the default precision of torch, on the device of `codes`.

    Raises
    ------
    ValueError
        If codes and target are no integers, or their lengths differ or do not fit the levels.

    References
    ----------
    "Generative Reasoning Recommendation via LLMs" (GREAM), Hong et al., arXiv:2510.20815, and the authors' code.

    Examples
    --------
    >>> prefix_reward([[7, 1, 2, 3], [7, 1, 0, 3], [0, 1, 2, 3], [7, -1, 2, 3]], [7, 1, 2, 3]).tolist()
    [1.0, 0.7070000171661377, 0.0, 0.0]
    """
    Several(Real(0.0, 1.0), "a sequence of numbers in [0, 1]").check("levels", levels)
    if not len(levels) or any(later < earlier for earlier, later in pairwise(levels)):
        raise ValueError(f"levels must not be empty, and not fall; got {levels!r}")
    given, right = _tokens("codes", codes), _tokens("target", target)
    right = right.to(given.device)
    n = given.shape[-1]
    if right.shape[-1] != n or n not in (len(levels), len(levels) + 1):
        raise ValueError(
            f"codes and target must have {len(levels)} or {len(levels) + 1} entries each; got {n} and {right.shape[-1]}"
        )
    try:
        given, right = torch.broadcast_tensors(given, right)
    except RuntimeError:
        shapes = tuple(given.shape), tuple(right.shape)
        raise ValueError(f"codes and target must have shapes that broadcast; got {shapes[0]} and {shapes[1]}") from None
    same = given == right
    # A code counts only where all before it are right.
    prefix = same[..., : len(levels)].long().cumprod(-1).sum(-1)
    table = torch.tensor([0.0, *map(float, levels)], dtype=torch.get_default_dtype(), device=given.device)
    rewards = table[prefix]
    rewards = torch.where(same.all(-1), torch.ones_like(rewards), rewards)
    return torch.where((given >= 0).all(-1), rewards, torch.zeros_like(rewards))


def _tokens(name: str, values: Any) -> Tensor:
    tokens = torch.as_tensor(values)
    if tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool or not tokens.ndim:
        raise ValueError(f"{name} must hold integers along at least one axis; got {tokens.dtype}")
    return tokens
