"""What the coding rates and the steps on them ask of tokens and of bases of subspaces."""

from typing import Any

import torch
from torch import Tensor

from sparsetheory.gpu.solvers.arguments import finite_tensor, together

__all__ = ["broadcast_counts", "check_mask", "checked_bases", "checked_tokens", "without_masked"]


def checked_tokens(name: str, value: Any, mask: Tensor | None) -> Tensor:
    """Return tokens of shape (..., n_tokens, dim), with their gradients, after all checks."""
    finite_tensor(name, value, least_axes=2)
    check_mask(name, value, mask)
    if 0 in value.shape[-2:]:
        raise ValueError(f"{name} must have at least one token and one feature; got shape {tuple(value.shape)}")
    tokens: Tensor = value
    return tokens


def check_mask(name: str, tokens: Tensor, mask: Tensor | None) -> None:
    """Raise unless a mask has one entry for each token, True or False, and keeps one token of each sample.

    Raises
    ------
    TypeError, ValueError
        With what the mask must be; numbers are refused, as attention would add them to its weights.
    """
    if mask is None:
        return
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"mask must be a tensor of bool; got {getattr(mask, 'dtype', type(mask).__name__)}")
    together(**{name: tokens, "mask": mask})
    if mask.shape != tokens.shape[:-1]:
        raise ValueError(f"mask must have shape {tuple(tokens.shape[:-1])}; got {tuple(mask.shape)}")
    if not bool(mask.any(-1).all()):
        raise ValueError("mask must keep at least one token of each sample; it keeps 0 of one")


def checked_bases(U: Any, tokens: Tensor) -> Tensor:
    """Return bases of shape (n_subspaces, dim, n_components), with their gradients, after all checks."""
    finite_tensor("U", U)
    together(Z=tokens, U=U)
    if U.ndim != 3 or 0 in U.shape or U.shape[1] != tokens.shape[-1]:
        raise ValueError(
            f"U must have shape (n_subspaces, {tokens.shape[-1]}, n_components), none of them 0; got {tuple(U.shape)}"
        )
    bases: Tensor = U
    return bases


def without_masked(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return the tokens, those that do not count replaced by zeros, which add nothing to a rate."""
    return tokens if mask is None else torch.where(mask.unsqueeze(-1), tokens, 0.0)


def broadcast_counts(tokens: Tensor, mask: Tensor | None) -> Tensor | float:
    """Return how many tokens count: a number, or a tensor of shape (..., 1, 1) where a mask says so."""
    if mask is None:
        return float(tokens.shape[-2])
    return mask.sum(-1)[..., None, None].to(torch.float64)
