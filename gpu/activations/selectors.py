"""Selectors: which entries of a vector of activations take part in what comes next.

A selector is called with activations of shape (..., features) and returns a mask of their shape, True where an entry is
kept. It owns no weights. Thresholds keep NaN, so that it shows in what comes next. Choices of a count go through
:mod:`sparsetheory.gpu.core.selection`, so that entries that tie at the cut do not change the count, and the lowest
index wins.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE, Instance, Real
from sparsetheory.gpu.core.selection import check_scores, keep_largest
from sparsetheory.gpu.solvers.proximal import prox
from sparsetheory.penalties import L0, L1, Lq, Penalty

__all__ = ["ColumnScaled", "Largest", "Nonzero", "ProxSupport", "ReluThreshold", "Selector", "check_scale", "from_prox"]

Selector = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Nonzero:
    """Keep what is not zero already, as after a ReLU.

    Examples
    --------
    >>> import torch
    >>> Nonzero()(torch.tensor([0.0, -1.0, 2.0]))
    tensor([False,  True,  True])
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Return the mask of activations of any shape."""
        return x != 0


@dataclass(frozen=True)
class ReluThreshold:
    """Keep entries of at least a threshold; at a threshold of 0 those above it, so that zeros count as inactive.

    Parameters
    ----------
    threshold : float
        At least 0.

    Examples
    --------
    >>> import torch
    >>> ReluThreshold(0.5)(torch.tensor([-1.0, 0.4, 0.5]))
    tensor([False, False,  True])
    """

    threshold: float = 0.0

    def __post_init__(self) -> None:
        NONNEGATIVE.require(threshold=self.threshold)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the mask of activations of any shape."""
        return ~(x < self.threshold) if self.threshold > 0 else ~(x <= 0)


@dataclass(frozen=True)
class Largest:
    """Keep a number of entries of each token, the largest ones; the lowest index wins ties.

    Parameters
    ----------
    n_nonzero : int
        Entries to keep of the last axis, from 1 to all.
    magnitude : bool
        Whether sizes are compared, which gives the closest vector with so many entries. By default values are, as
        behind a ReLU.

    Examples
    --------
    >>> import torch
    >>> Largest(2)(torch.tensor([1.0, -3.0, 1.0, 1.0]))
    tensor([ True, False,  True, False])
    """

    n_nonzero: int
    magnitude: bool = False

    def __post_init__(self) -> None:
        COUNT.require(n_nonzero=self.n_nonzero)
        FLAG.require(magnitude=self.magnitude)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the mask of activations of shape (..., features)."""
        check_scores(x, "x")
        if not x.ndim or self.n_nonzero > x.shape[-1]:
            raise ValueError(f"n_nonzero must be at most the number of features; got {self.n_nonzero} for {x.shape}")
        return keep_largest(x.detach().abs() if self.magnitude else x.detach(), self.n_nonzero)


class ColumnScaled(nn.Module):
    """Keep entries whose score is above a threshold: ``|x_j| c_j > t``, or ``|x_j| > t`` without scales.

    Scales and threshold are buffers, so a layer that has the selector saves and moves them.

    Parameters
    ----------
    scale : Tensor of shape (features,), optional
        Not negative. With the norms of the columns of a weight, ``|x_j| c_j`` is the norm of what entry j adds to the
        output.
    threshold : float or Tensor of shape ()
        At least 0, in the unit of the scores.

    Examples
    --------
    >>> import torch
    >>> ColumnScaled(torch.tensor([1.0, 3.0]), 2.0)(torch.tensor([[-1.0, -1.0], [3.0, 0.5]]))
    tensor([[False,  True],
            [ True, False]])
    """

    scale: Tensor | None
    threshold: Tensor

    def __init__(self, scale: Tensor | None, threshold: Tensor | float) -> None:
        super().__init__()
        NONNEGATIVE.require(threshold=float(threshold))
        self.register_buffer("scale", None if scale is None else check_scale(scale).detach().clone())
        dtype = torch.get_default_dtype() if scale is None else scale.dtype
        given = threshold if isinstance(threshold, Tensor) else torch.tensor(threshold, dtype=dtype)
        self.register_buffer("threshold", given.detach().clone())

    def scores(self, x: Tensor) -> Tensor:
        """Return the scores of activations of shape (..., features)."""
        return x.abs() if self.scale is None else x.abs() * self.scale.to(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mask of activations of shape (..., features)."""
        return ~(self.scores(x.detach()) <= self.threshold)


def check_scale(scale: Tensor) -> Tensor:
    """Return factors of features, if they are a vector without negative entries or NaN."""
    if check_scores(scale, "scale").ndim != 1 or bool((scale < 0).any()):
        raise ValueError(
            f"scale must be a vector without negative entries; got shape {tuple(scale.shape)} "
            f"with {int((scale < 0).sum())} of them"
        )
    return scale


@dataclass(frozen=True)
class ProxSupport:
    """Keep what the proximal operator of a penalty does not send to zero.

    Parameters
    ----------
    penalty : Penalty
        One of :mod:`sparsetheory.penalties`.
    """

    penalty: Penalty

    def __post_init__(self) -> None:
        Instance(Penalty).require(penalty=self.penalty)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the mask of activations of any shape."""
        return self.value(x.detach()) != 0

    def value(self, x: Tensor) -> Tensor:
        """Return what the operator makes of activations: kept entries may be shrunk."""
        return prox(x, self.penalty)


def from_prox(q: float, alpha: float, *, positive: bool = False) -> ProxSupport:
    """Return the selector that keeps the support of ``argmin_z (z - x)^2 / 2 + alpha |z|^q``.

    Parameters
    ----------
    q : float
        From 0, which counts entries, to 1, the l1 norm.
    alpha : float
        Strength of the penalty.
    positive : bool
        Whether z has to be at least 0.

    Returns
    -------
    ProxSupport
        Its ``value(x)`` is z itself.

    Notes
    -----
    For q = 0 and ``alpha = t^2 / 2`` over ``z >= 0`` the operator is FATReLU with threshold t, and for q = 1 and
    ``alpha = t`` it is ``relu(x - t)``: the same support, but all that is kept is too small by t. At ``x = t`` zero
    ties with x for q = 0; this selector takes zero and :class:`FATReLU` takes x.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([-2.0, 0.5, 2.0])
    >>> hard, soft = from_prox(0, 0.5, positive=True), from_prox(1, 1.0, positive=True)
    >>> bool(torch.equal(hard(x), soft(x))), hard.value(x), soft.value(x)
    (True, tensor([0., 0., 2.]), tensor([0., 0., 1.]))
    """
    Real(0.0, 1.0).require(q=q)
    FLAG.require(positive=positive)
    if q in (0, 1):
        return ProxSupport((L0 if q == 0 else L1)(alpha, positive=positive))
    return ProxSupport(Lq(alpha, q, positive=positive))
