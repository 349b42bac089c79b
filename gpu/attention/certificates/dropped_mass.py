"""The exact mass that a choice of keys drops, and what that does to the output of attention."""

import torch
from torch import Tensor

from sparsetheory.gpu.attention.certificates.block_masses import Masses, log_mass_bounds, scale_of
from sparsetheory.gpu.attention.certificates.key_blocks import KeyBlocks
from sparsetheory.gpu.attention.certificates.rounding import arithmetic_of, kept_error, unit_roundoff

__all__ = ["attention_scores", "dropped_mass", "dropped_mass_bound", "log_kept_mass", "truncation_error"]


def dropped_mass(scores: Tensor, kept: Tensor, *, visible: Tensor | None = None) -> Tensor:
    """Return the mass of softmax on the keys that a query may see and that were not kept.

    Parameters
    ----------
    scores : Tensor of shape (..., n, m)
    kept : Tensor of bool, broadcast to the same shape
        Every query keeps at least one visible key.
    visible : Tensor of bool, broadcast to the same shape, optional
        What a query may see; everything by default.

    Returns
    -------
    Tensor of shape (..., n)
    """
    raise NotImplementedError


def log_kept_mass(scores: Tensor, kept: Tensor, *, visible: Tensor | None = None) -> Tensor:
    """Return the logarithm of the kept mass, minus the divergence KL(truncated | full)."""
    raise NotImplementedError


def truncation_error(scores: Tensor, kept: Tensor, v: Tensor, *, visible: Tensor | None = None) -> Tensor:
    """Return the full minus the truncated output, of shape (..., n, d_v), without cancellation."""
    raise NotImplementedError


def attention_scores(q: Tensor, k: Tensor, *, scale: float | None = None) -> Tensor:
    """Return ``scale q'k`` for all pairs, of shape (..., n, m)."""
    raise NotImplementedError


def dropped_mass_bound(
    q: Tensor,
    blocks: KeyBlocks,
    log_kept: Tensor,
    *,
    dropped: Tensor | None = None,
    masses: Masses = "variance",
    key_norm: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Return a certified upper bound of the dropped mass of each query, without a dropped score.

    Parameters
    ----------
    q : Tensor of shape (..., n, d)
    blocks : KeyBlocks
        The blocks of keys.
    log_kept : Tensor of shape (..., n)
        ``log sum exp`` of the scores of the kept keys, as the attention computed it.
    dropped : Tensor of bool of shape (..., n, blocks), optional
        The blocks that were dropped and that the query may see, in part or whole; all by default.
    masses : {"plain", "chord", "deviation", "variance"}
        As in :func:`log_mass_bounds`.
    key_norm : Tensor of shape (...), optional
        Largest norm of the kept keys, where these are not in `blocks`.
    scale : float, optional

    Returns
    -------
    Tensor of shape (..., n)
    """
    raise NotImplementedError
