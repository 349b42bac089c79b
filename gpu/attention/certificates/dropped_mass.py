"""The exact mass that a choice of keys drops, and what that does to the output of attention.

A query sees keys with scores s and softmax p. It keeps the keys of a set S, whose softmax is ``p~ = p 1_S / alpha``
with the kept mass alpha. With the dropped mass ``delta = 1 - alpha``

- ``|p - p~|_1 = 2 delta``, ``|p - p~|_2 <= sqrt(2) delta`` and ``KL(p~ | p) = -log alpha``;
- the output errs by ``o - o~ = delta (mu - o~)``, where mu is the mean of the dropped values, weighted by p.
"""

import torch
from torch import Tensor

from sparsetheory.gpu.attention.certificates.block_masses import scale_of

__all__ = ["attention_scores", "dropped_mass", "log_dropped_ratio", "log_kept_mass", "truncation_error"]


def attention_scores(q: Tensor, k: Tensor, *, scale: float | None = None) -> Tensor:
    """Return the scores ``scale q'k`` of all pairs.

    Parameters
    ----------
    q : Tensor of shape (..., n, d)
    k : Tensor of shape (..., m, d)
    scale : float, optional
        ``1 / sqrt(d)`` by default.

    Returns
    -------
    Tensor of shape (..., n, m)
    """
    return q @ k.mT * scale_of(q, scale)


def log_dropped_ratio(scores: Tensor, kept: Tensor, *, visible: Tensor | None = None) -> Tensor:
    """Return the logarithm of the dropped mass over the kept one.

    Parameters
    ----------
    scores, kept, visible
        As in :func:`dropped_mass`.

    Returns
    -------
    Tensor of shape (..., n)
        Minus infinity where nothing was dropped.
    """
    kept, dropped = kept_and_dropped(scores, kept, visible)
    return _log_sum(scores, dropped) - _log_sum(scores, kept)


def dropped_mass(scores: Tensor, kept: Tensor, *, visible: Tensor | None = None) -> Tensor:
    """Return the mass of softmax on the keys that a query may see and that were not kept.

    It is the logistic function of the difference of two log-sum-exps. One minus the kept mass would lose all digits of
    a small value: 8e-13 is zero in float32.

    Parameters
    ----------
    scores : Tensor of shape (..., n, m)
    kept : Tensor of bool, broadcast to that shape
        Each query keeps at least one key that it may see.
    visible : Tensor of bool, broadcast to that shape, optional
        What a query may see; everything by default. Scores of other pairs are never read.

    Returns
    -------
    Tensor of shape (..., n)

    Raises
    ------
    TypeError
        If a mask is not of bool.
    ValueError
        If a visible score is not finite, or a query keeps no key.

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([[0.0, 0.0, -27.9]])
    >>> mass = dropped_mass(scores, torch.tensor([True, True, False]))
    >>> f"{float(mass):.3g}"
    '3.82e-13'
    """
    return torch.sigmoid(log_dropped_ratio(scores, kept, visible=visible))


def log_kept_mass(scores: Tensor, kept: Tensor, *, visible: Tensor | None = None) -> Tensor:
    """Return the logarithm of the kept mass; its negative is the divergence KL(truncated | full).

    With the ratio rho of dropped to kept mass it is ``-log(1 + rho)``. The logarithm of one minus the dropped mass
    would be wrong altogether where little was kept.

    Parameters
    ----------
    scores, kept, visible
        As in :func:`dropped_mass`.

    Returns
    -------
    Tensor of shape (..., n)

    Examples
    --------
    >>> import torch
    >>> log_kept_mass(torch.tensor([[0.0, 200.0]]), torch.tensor([True, False]))
    tensor([-200.])
    """
    ratio = log_dropped_ratio(scores, kept, visible=visible)
    return -torch.logaddexp(torch.zeros_like(ratio), ratio)


def truncation_error(scores: Tensor, kept: Tensor, v: Tensor, *, visible: Tensor | None = None) -> Tensor:
    """Return the output of full attention minus that of the kept keys, ``delta (mu - o~)``.

    Nothing cancels between the two outputs, so that the error is as exact as the dropped mass.

    Parameters
    ----------
    scores, kept, visible
        As in :func:`dropped_mass`.
    v : Tensor of shape (..., m, d_v)

    Returns
    -------
    Tensor of shape (..., n, d_v)
        Zero where nothing was dropped.

    Examples
    --------
    >>> import torch
    >>> truncation_error(torch.zeros(1, 2), torch.tensor([True, False]), torch.tensor([[1.0], [3.0]]))
    tensor([[1.]])
    """
    delta = dropped_mass(scores, kept, visible=visible)
    kept, dropped = kept_and_dropped(scores, kept, visible)
    # A query that drops nothing has no dropped mean; its row of weights is zero.
    rest = torch.where(dropped.any(-1, keepdim=True), _softmax(scores, dropped), 0.0)
    return delta[..., None] * (rest @ v - _softmax(scores, kept) @ v)


def kept_and_dropped(scores: Tensor, kept: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the kept and the dropped pairs among the visible ones, in the shape of the scores; check all three."""
    for name, mask in (("kept", kept), ("visible", visible)):
        if mask is not None and mask.dtype != torch.bool:
            raise TypeError(f"{name} must be a tensor of bool; got {mask.dtype}")
    seen = torch.ones_like(scores, dtype=torch.bool) if visible is None else visible.expand(scores.shape)
    if not bool((torch.isfinite(scores) | ~seen).all()):
        raise ValueError("scores must be finite where a query may see the key; got infinite entries or NaN")
    kept = kept.expand(scores.shape) & seen
    if not bool(kept.any(-1).all()):
        where = torch.nonzero(~kept.any(-1))[0].tolist()
        raise ValueError(f"kept must hold a visible key for every query; query {where[-1]} keeps none")
    return kept, seen & ~kept


def _log_sum(scores: Tensor, chosen: Tensor) -> Tensor:
    return torch.logsumexp(torch.where(chosen, scores, -torch.inf), dim=-1)


def _softmax(scores: Tensor, chosen: Tensor) -> Tensor:
    return torch.softmax(torch.where(chosen, scores, -torch.inf), dim=-1)
