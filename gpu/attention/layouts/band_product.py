"""Kronecker products of bands, kept as a few numbers.

All of the patterns of attention between tokens of a film are of this kind. ``Band_m(w)`` is the square matrix of size
m with ones where the indices differ by at most w, so ``Band_m(0)`` is the identity I_m and ``Band_m(m - 1)`` is the
matrix J_m of ones. A token of F frames of P places, frame after frame, sees

- the places around its own one in all frames: ``J_F (x) Band_P(w)``;
- its own frame: ``I_F (x) J_P``;
- the tokens before and after it: ``Band_FP(w)``, one factor.

Place after place the factors change places: ``Band_P(w) (x) J_F`` is a band of full blocks of F tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, SIZE

__all__ = ["BandProduct", "band", "band_pairs"]


def band_pairs(n: int, w: int) -> int:
    """Return how many pairs of indices below n differ by at most w, ``n (2w + 1) - w (w + 1)`` for w below n.

    Row i has ``2w + 1`` of them, less what sticks out at its ends: ``w + (w - 1) + ... + 1`` at each of the two.

    Examples
    --------
    >>> band_pairs(5, 1), band_pairs(5, 100)
    (13, 25)
    """
    w = min(w, n - 1)
    return n * (2 * w + 1) - w * (w + 1)


def band(n: int, w: int) -> Tensor:
    """Return which pairs of indices below n differ by at most w, as a tensor of bool of shape (n, n)."""
    index = torch.arange(n)
    return (index[:, None] - index).abs() <= w


@dataclass(frozen=True)
class BandProduct:
    """The Kronecker product of bands, stored as their sizes and widths.

    Parameters
    ----------
    factors : sequence of (int, int)
        Size and half-width of each band, the one of the slowest index first.

    Examples
    --------
    Two frames of three places; every token sees its own place in both.

    >>> import torch
    >>> product = BandProduct([(2, 1), (3, 0)])
    >>> product.count(), product @ torch.tensor([1, 2, 3, 10, 20, 30])
    (12, tensor([11, 22, 33, 11, 22, 33]))
    """

    factors: Sequence[tuple[int, int]]

    def __post_init__(self) -> None:
        if not self.factors:
            raise ValueError("factors must hold at least one band; got none")
        for n, w in self.factors:
            COUNT.check("factors", n)
            SIZE.check("factors", w)

    @property
    def n(self) -> int:
        """Rows, and columns."""
        return math.prod(n for n, _ in self.factors)

    def count(self) -> int:
        """Return the number of ones: the product of those of the factors."""
        return math.prod(band_pairs(n, w) for n, w in self.factors)

    def dense(self) -> Tensor:
        """Return the matrix as a tensor of bool of shape (n, n)."""
        matrix = torch.ones(1, 1, dtype=torch.uint8)
        for n, w in self.factors:
            matrix = torch.kron(matrix, band(n, w).to(torch.uint8))
        return matrix.bool()

    def __matmul__(self, x: Tensor) -> Tensor:
        """Multiply the first axis of a tensor.

        A band sums a window, which is the difference of two running sums: O(n) operations for each factor, whatever
        its width. Running sums round: of entries of one size the error grows with the length of the axis.

        Parameters
        ----------
        x : Tensor of shape (n, ...)

        Returns
        -------
        Tensor of the shape of `x`
        """
        if x.shape[0] != self.n:
            raise ValueError(f"x must have {self.n} rows; got {x.shape[0]}")
        y = x.reshape(*(n for n, _ in self.factors), -1)
        for axis, (n, w) in enumerate(self.factors):
            y = _window_sums(y, axis, min(w, n - 1))
        return y.reshape(x.shape)


def _window_sums(y: Tensor, axis: int, w: int) -> Tensor:
    n = y.shape[axis]
    if w == 0:
        return y
    if w == n - 1:
        return y.sum(axis, keepdim=True).expand_as(y)
    running = torch.cat([torch.zeros_like(y.narrow(axis, 0, 1)), y.cumsum(axis)], axis)
    index = torch.arange(n, device=y.device)
    after, before = (index + w + 1).clamp(max=n), (index - w).clamp(min=0)
    return running.index_select(axis, after) - running.index_select(axis, before)
