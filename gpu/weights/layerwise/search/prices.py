"""Exact prices of all moves of one row: what every drop costs, what every new weight and every swap gains."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsetheory.gpu.weights.layerwise.search.problem import Problem
from sparsetheory.gpu.weights.layerwise.search.sweeping import FLOOR, Starter
from sparsetheory.numba_kernels.layerwise.pivots import new_tableau

__all__ = ["MovePrices", "move_prices"]


@dataclass(frozen=True)
class MovePrices:
    """Changes of the least-squares objective, all coefficients fitted anew.

    Parameters
    ----------
    drop : Tensor of shape (in,)
        Rise when a kept weight goes; infinite for the others.
    add : Tensor of shape (in,)
        Fall when a weight enters; minus infinity for the kept ones.
    swap : Tensor of shape (in, in)
        Fall when the weight of the row goes and that of the column enters; minus infinity where that is no swap.
    """

    drop: Tensor
    add: Tensor
    swap: Tensor


def move_prices(w: Tensor, H: Tensor, mask: Tensor) -> MovePrices:
    """Return the prices of all moves from a mask, O(in^3) together.

    With S the kept columns, s the fit on them, P the inverse of ``H_SS``, ``a = (H (w - s))_i``, A the Schur complement
    of i, and ``c = (H_iS P)_j``: a drop costs ``s_j^2 / P_jj``, an entry gains ``a^2 / A``, and a swap gains
    ``(a + c s_j / P_jj)^2 / (A + c^2 / P_jj) - s_j^2 / P_jj``.

    Parameters
    ----------
    w : Tensor of shape (in,)
        One row of the dense layer, float64.
    H : Tensor of shape (in, in)
        Gram matrix of the inputs with its damping, float64.
    mask : Tensor of bool, of shape (in,)
        Kept weights.

    Returns
    -------
    MovePrices
        A column that the kept ones determine, to a share of 1e-12 of its diagonal entry, gains minus infinity.

    Raises
    ------
    ValueError
        If shapes do not fit, or the block of kept columns is not positive definite.

    Examples
    --------
    >>> import torch
    >>> w, H = torch.ones(2, dtype=torch.float64), torch.tensor([[1.0, 0.5], [0.5, 4.0]], dtype=torch.float64)
    >>> prices = move_prices(w, H, torch.tensor([True, False]))
    >>> prices.drop.tolist(), prices.add.tolist(), float(prices.swap[0, 1])
    ([2.25, inf], [-inf, 3.75], 2.8125)
    """
    if w.ndim != 1 or mask.shape != w.shape:
        raise ValueError(f"w and mask must be vectors of one length; got {tuple(w.shape)} and {tuple(mask.shape)}")
    problem, kept = Problem.of(w.reshape(1, -1), H), mask.bool().numpy()
    p = kept.size
    tableau = new_tableau(p, p, 1, 0)
    if not Starter(p).start(tableau, problem.H, problem.b.numpy(), problem.energies().numpy(), kept):
        raise ValueError("H must be positive definite on the mask; add damping to its diagonal")
    border, diagonal = tableau.border[0], tableau.diagonal
    floors = FLOOR * problem.H.diagonal().numpy()
    drop, add, swap = np.full(p, np.inf), np.full(p, -np.inf), np.full((p, p), -np.inf)
    drop[kept] = border[kept] ** 2 / -diagonal[kept]
    free = ~kept & (diagonal > floors)
    add[free] = border[free] ** 2 / diagonal[free]
    inside, outside = np.flatnonzero(kept), np.flatnonzero(~kept)
    c, ratio = tableau.matrix[np.ix_(inside, outside)], (border[inside] / -diagonal[inside])[:, None]
    schur = diagonal[outside] - c**2 / diagonal[inside][:, None]
    gains = (border[outside] + c * ratio) ** 2 / schur - drop[inside][:, None]
    swap[np.ix_(inside, outside)] = np.where(schur > floors[outside], gains, -np.inf)
    return MovePrices(*(torch.from_numpy(x) for x in (drop, add, swap)))
