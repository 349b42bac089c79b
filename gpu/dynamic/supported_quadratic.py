"""Exact prices on a quadratic: what dropping, growing or exchanging an entry of a support costs or gains.

This joins rewiring to sparse regression. On ``f(w) = w'Gw / 2 - b'w``, growth by the largest gradient is the choice of
orthogonal matching pursuit, and dropping the smallest weights followed by a new solve is that of CoSaMP. Both rank as
the exact prices do only where columns have equal scales and equal correlations.
"""

from functools import cached_property

import torch
from torch import Tensor

__all__ = ["SupportedQuadratic"]

# Relative to a unit diagonal: a column of which less is outside the span of others depends on them.
_DEPENDENT = 1e-8


class SupportedQuadratic:
    """The minimum of a quadratic over the vectors that are zero off a support, and the price of every move.

    Let g = Gw - b at the minimiser w on the support S, and P the inverse of G on S.

    - Removing i and solving again raises the minimum by ``w_i**2 / (2 P_ii)``.
    - Adding j alone lowers it by ``g_j**2 / (2 h_j)``. Here ``h_j = G_jj - G_jS P G_Sj`` is the squared norm of what of
      column j is not in the span of S.
    - Exchanging i for j lowers it by ``((c w_i / P_ii - g_j)**2 / (h_j + c**2 / P_ii) - w_i**2 / P_ii) / 2``, where
      ``c = (G_jS P)_i``.

    Columns of S may depend on each other. A column that takes part in a dependence can be removed for nothing, as the
    others span the same space; the pseudo-inverse would price it wrongly. A column in the span of S gains nothing.
    Columns are scaled to unit norm before anything is compared with a tolerance, so their scales do not matter. All is
    computed in double precision and returned in that of `gram`. A Gram matrix resolves dependence only to about the
    root of its precision, 1e-4 of a column.

    Cost: O(s^3 + s p + s^2 p) for p entries, s of them in the support.

    Parameters
    ----------
    gram : Tensor of shape (p, p)
        Symmetric positive semidefinite, such as X'X.
    target : Tensor of shape (p,)
        The vector b, in the range of `gram`, such as X'y.
    support : Tensor of bool of shape (p,)

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite, or the quadratic has no minimum on the support.

    Examples
    --------
    >>> import torch
    >>> gram, target = torch.diag(torch.tensor([1.0, 4.0, 1.0])), torch.tensor([1.0, 2.0, 3.0])
    >>> quadratic = SupportedQuadratic(gram, target, torch.tensor([True, True, False]))
    >>> quadratic.weight, float(quadratic.objective)
    (tensor([1.0000, 0.5000, 0.0000]), -1.0)
    >>> quadratic.prices, quadratic.gains
    (tensor([0.5000, 0.5000, 0.0000]), tensor([0.0000, 0.0000, 4.5000]))
    """

    def __init__(self, gram: Tensor, target: Tensor, support: Tensor) -> None:
        p = target.shape[0] if target.ndim == 1 else -1
        if gram.shape != (p, p) or support.shape != (p,) or support.dtype != torch.bool:
            got = f"{tuple(gram.shape)}, {tuple(target.shape)} and {support.dtype} of {tuple(support.shape)}"
            raise ValueError(f"gram, target and support must be (p, p), (p,) and bool (p,); got {got}")
        if not bool(torch.isfinite(gram).all() and torch.isfinite(target).all()):
            raise ValueError("gram and target must be finite; got infinite entries or NaN")
        self._dtype = gram.dtype
        self._tolerance = max(_DEPENDENT, 64 * torch.finfo(gram.dtype).eps)
        self._scale = gram.diagonal().double().clamp(min=0).sqrt()
        self._scale = torch.where(self._scale > 0, self._scale, 1.0)
        self._gram = gram.double() / self._scale[:, None] / self._scale
        self._target = target.double() / self._scale
        self._solve(support)

    def on(self, support: Tensor) -> "SupportedQuadratic":
        """Return the same quadratic on another support, a mask of the same length."""
        other = object.__new__(SupportedQuadratic)
        for name in ("_dtype", "_tolerance", "_scale", "_gram", "_target"):
            setattr(other, name, getattr(self, name))
        other._solve(support)
        return other

    def _solve(self, support: Tensor) -> None:
        self.support = support
        self._inside = support.nonzero().squeeze(1)
        values, vectors = torch.linalg.eigh(self._gram[self._inside][:, self._inside])
        zero = values <= self._tolerance
        self._null, kept = vectors[:, zero], vectors[:, ~zero]
        self._inverse = (kept / values[~zero]) @ kept.T
        self._require_minimum()
        self._scaled = torch.zeros_like(self._target)
        self._scaled[self._inside] = self._inverse @ self._target[self._inside]

    @property
    def weight(self) -> Tensor:
        """The minimiser; of several the one of least norm in unit columns."""
        return (self._scaled / self._scale).to(self._dtype)

    @property
    def objective(self) -> Tensor:
        """The minimum."""
        return (-(self._target * self._scaled).sum() / 2).to(self._dtype)

    @property
    def gradient(self) -> Tensor:
        """The gradient at the minimiser; zero on the support up to rounding."""
        return (self._gradient * self._scale).to(self._dtype)

    @cached_property
    def prices(self) -> Tensor:
        """What removing each entry of the support costs, all others solved for again; zero off the support."""
        found = torch.zeros_like(self._target)
        found[self._inside] = torch.where(self._dependent, 0.0, self._scaled[self._inside].square() / (2 * self._own))
        return found.to(self._dtype)

    @cached_property
    def gains(self) -> Tensor:
        """What adding each entry off the support gains, all others solved for again; zero on the support."""
        return self._gains.to(self._dtype)

    @cached_property
    def exchange_gains(self) -> Tensor:
        """What exchanging entry i of the support for entry j off it gains, of shape (p, p); -inf for other pairs."""
        found = torch.full_like(self._gram, -torch.inf)
        outside = (~self.support).nonzero().squeeze(1)
        mixed = self._mixed[:, outside]
        weight, own = self._scaled[self._inside][:, None], self._own[:, None]
        room = self._rest[outside] + mixed.square() / own
        pushed = (mixed * weight / own - self._gradient[outside]).square()
        gain = torch.where(room > self._tolerance, pushed / (2 * room), 0.0) - weight.square() / (2 * own)
        # Without a dependent column the rest spans the same space, so the new one finds the same minimum.
        gain = torch.where(self._dependent[:, None], self._gains[outside], gain)
        found[self._inside[:, None], outside] = gain
        return found.to(self._dtype)

    @cached_property
    def _gains(self) -> Tensor:
        fresh = (self._rest > self._tolerance) & ~self.support
        return torch.where(fresh, self._gradient.square() / (2 * self._rest), 0.0)

    @cached_property
    def _gradient(self) -> Tensor:
        return self._gram @ self._scaled - self._target

    @cached_property
    def _own(self) -> Tensor:
        # Never zero but for dependent columns, whose quotients are not used.
        diagonal = self._inverse.diagonal()
        return torch.where(self._dependent, 1.0, diagonal)

    @cached_property
    def _dependent(self) -> Tensor:
        """Which columns of the support take part in a dependence: their rows of the null space are not zero."""
        # A smaller part in a unit vector is rounding.
        return (self._null.abs() > 100 * self._tolerance).any(1)

    @cached_property
    def _mixed(self) -> Tensor:
        return self._inverse @ self._gram[self._inside]

    @cached_property
    def _rest(self) -> Tensor:
        return self._gram.diagonal() - (self._gram[self._inside] * self._mixed).sum(0)

    def _require_minimum(self) -> None:
        along = (self._null.T @ self._target[self._inside]).abs()
        # The root of the tolerance: along a direction that is only nearly null, b may have as much as that.
        if along.numel() and bool((along > self._tolerance**0.5 * self._target.abs().amax()).any()):
            raise ValueError("target must be in the range of gram; the quadratic has no minimum on the support")
