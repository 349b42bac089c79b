"""Upper and lower bounds of the mass of a block of keys, ``sum_j exp(s_j)``, that compute no score of the block."""

from typing import Literal, get_args

import torch
from torch import Tensor

from sparsetheory.constraints import POSITIVE, Choice
from sparsetheory.gpu.attention.certificates.key_blocks import KeyBlocks
from sparsetheory.gpu.attention.certificates.rounding import arithmetic_of, lengths, score_error, unit_roundoff
from sparsetheory.gpu.attention.certificates.score_bounds import box_bound

__all__ = ["Masses", "log_mass_bounds", "log_mass_lower", "log_mean_exp_bound", "scale_of", "score_range"]

Masses = Literal["plain", "chord", "deviation", "variance"]
_MASSES = Choice(*get_args(Masses))


def log_mass_bounds(q: Tensor, blocks: KeyBlocks, *, masses: Masses = "variance", scale: float | None = None) -> Tensor:
    """Return upper bounds of ``log sum_j exp(scale q'k_j)`` over the keys of each block.

    All are certified: enlarged by what rounding can change, they hold for the exact scores of the queries and keys as
    given. Each kind is at most the one before it, up to that rounding.

    Parameters
    ----------
    q : Tensor of shape (..., n, d)
    blocks : KeyBlocks
    masses : {"plain", "chord", "deviation", "variance"}
        What bounds the mean of ``exp(s_j)``. "plain": exp(U), with the least upper bound U of a score by ball, box and
        norm. "chord": the mean score, and scores between their bounds L and U. "deviation": these, and the largest
        standard deviation of a score for a query of that norm. "variance": these, and the variance of the scores of
        this very query, at d^2 operations more a block and query.
    scale : float, optional
        Factor of the scores; ``1 / sqrt(d)`` by default.

    Returns
    -------
    Tensor of shape (..., n, blocks)
        Minus infinity for an empty block; infinity where scores may leave the range of the dtype. In the wider dtype
        of q and the statistics.
    """
    _MASSES.check("masses", masses)
    scale, q = scale_of(q, scale), q.to(arithmetic_of(q, blocks.mean))
    low, mean, high = score_range(q, blocks, scale)
    error = _errors(q, blocks, scale)
    spread = None
    if masses in ("deviation", "variance"):
        spread = (_deviation(q, blocks, masses) * scale + 2 * error) ** 2
    mean, low, high = mean + error, low - 3 * error, high + 3 * error
    log_mean = high if masses == "plain" else log_mean_exp_bound(mean, low, high, spread)
    bound = _log_sizes(blocks, q) + log_mean + 2 * error + 40 * unit_roundoff(q.dtype, q.device)
    return _or_unknown(bound, torch.inf)


def log_mass_lower(q: Tensor, blocks: KeyBlocks, *, scale: float | None = None) -> Tensor:
    """Return a lower bound of ``log sum_j exp(scale q'k_j)`` over the keys of each block.

    A mean of exponentials is at least the exponential of the mean (Jensen). The bound holds only where every key of
    the block counts.

    Parameters
    ----------
    q, blocks, scale
        As in :func:`log_mass_bounds`.

    Returns
    -------
    Tensor of shape (..., n, blocks)
    """
    scale, q = scale_of(q, scale), q.to(arithmetic_of(q, blocks.mean))
    mean, error = q @ blocks.mean.mT * scale, _errors(q, blocks, scale)
    bound = _log_sizes(blocks, q) + mean - 3 * error - 40 * unit_roundoff(q.dtype, q.device)
    return _or_unknown(bound, -torch.inf)


def log_mean_exp_bound(mean: Tensor, low: Tensor, high: Tensor, variance: Tensor | None = None) -> Tensor:
    """Return the largest ``log E exp(X)`` of a variable with this mean and range, and at most this variance.

    With ``a = mean - low`` and ``b = high - mean`` the variance is at most ``a b`` (Bhatia and Davis 2000). Among
    variables below `high` with variance v, the one with two values, ``high`` of probability ``v / (b^2 + v)`` and
    ``mean - v / b``, has the largest ``E exp(X)`` (Bennett 1962). At ``v = a b`` the lower value is `low`, and the
    bound is the chord of the exponential between the two ends.

    Parameters
    ----------
    mean, low, high : Tensor
        Of one shape.
    variance : Tensor, optional
        Unknown by default.

    Returns
    -------
    Tensor
        Between `mean` and `high`. Computed from logarithms: nothing overflows.

    Examples
    --------
    >>> import torch
    >>> mean, low, high = torch.tensor([0.0]), torch.tensor([-1.0]), torch.tensor([1.0])
    >>> log_mean_exp_bound(mean, low, high).exp()  # cosh(1)
    tensor([1.5431])
    >>> log_mean_exp_bound(mean, low, high, torch.tensor([0.0]))
    tensor([0.])
    """
    above, below = (high - mean).clamp_min(0.0), (mean - low).clamp_min(0.0)
    # The gap of the two values, (b^2 + v) / b, and the probability of the upper one: both for v = t b, t <= a.
    drop = below
    if variance is not None:
        drop = torch.where(above > 0, torch.minimum(below, variance / above), 0.0)
    width = above + drop
    share = torch.where(width > 0, drop / width, 0.0)
    bound = torch.logaddexp(torch.log1p(-share) + mean - drop, torch.log(share) + high)
    return torch.minimum(torch.maximum(bound, mean), high)


def score_range(q: Tensor, blocks: KeyBlocks, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return lower bound, mean and upper bound of the scores of each block, each of shape (..., n, blocks).

    The bounds are the better of box and ball. Rounding is not allowed for.
    """
    mean = q @ blocks.mean.mT
    around = lengths(q)[..., None] * blocks.radius[..., None, :]
    high = torch.minimum(box_bound(blocks.low, blocks.high, q), mean + around)
    low = torch.maximum(-box_bound(blocks.low, blocks.high, -q), mean - around)
    return low * scale, mean * scale, high * scale


def scale_of(q: Tensor, scale: float | None) -> float:
    """Return the factor of the scores, ``1 / sqrt(d)`` by default."""
    return q.shape[-1] ** -0.5 if scale is None else POSITIVE.check("scale", scale)


def _errors(q: Tensor, blocks: KeyBlocks, scale: float) -> Tensor:
    # The corner of the box that is farthest from zero is at least as far as any key, the mean and the factor.
    reach = lengths(torch.maximum(blocks.low.abs(), blocks.high.abs()))
    return score_error(q, reach, scale, blocks.sizes)


def _deviation(q: Tensor, blocks: KeyBlocks, masses: Masses) -> Tensor:
    """Return an upper bound of the standard deviation of the products of each query with the keys of a block."""
    if blocks.factor is None or blocks.deviation is None:
        raise ValueError(f"blocks must have a factor for masses={masses!r}; got blocks made with covariance=False")
    largest = lengths(q)[..., None] * blocks.deviation[..., None, :]
    if masses == "deviation":
        return largest
    return torch.minimum(lengths(q[..., None, :, :] @ blocks.factor.mT).mT, largest)


def _or_unknown(bound: Tensor, nothing: float) -> Tensor:
    """Return a bound that says nothing where scores left the range of the dtype and it came out as no number."""
    return torch.where(bound.isnan(), nothing, bound)


def _log_sizes(blocks: KeyBlocks, q: Tensor) -> Tensor:
    return blocks.sizes.to(q.dtype).log()[..., None, :]
