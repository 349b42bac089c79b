"""How much is added to the diagonal of a Gram matrix before coefficients are refitted.

Few calibration rows for many inputs make an undamped refit fit the noise of the calibration data. The objective that is
minimised has ``H = G + delta diag(G)``; errors are always reported with G itself.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import NONNEGATIVE, Choice, Constraint
from sparsetheory.gpu.core.gram import Gram
from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.weights.layerwise.least_squares import refit

__all__ = ["DAMPING", "DEFAULT_DELTA", "DampedGram", "choose_delta", "damped"]

DEFAULT_DELTA = 1e-2
DAMPING: Constraint = Choice("shards") | NONNEGATIVE
# From nearly nothing to what serves with five rows for each input; half a decade apart where it matters.
_DELTAS = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1)
# Rows of the weight that vote, and half of them where refits are dear: each row costs one for every shard and delta.
_VOTERS, _DEAR = 32, 1024
# Among values that serve equally well the least is taken: a search is led by the objective, and damping blurs it.
_TOLERANCE = 0.005


@dataclass(frozen=True, eq=False)
class DampedGram:
    """A Gram matrix, the damping, and their sum.

    Parameters
    ----------
    gram : Tensor of shape (p, p)
        G, the mean outer product of the inputs, float64.
    delta : float
        What multiplies the diagonal of G.
    """

    gram: Tensor
    delta: float

    @property
    def damped(self) -> Tensor:
        """``G + delta diag(G)``."""
        return damped(self.gram, self.delta)


def damped(gram: Tensor, delta: float) -> Tensor:
    """Return ``gram + delta diag(gram)``."""
    return gram + torch.diag(delta * gram.diagonal())


def choose_delta(W: Tensor, gram: Gram, pattern: Pattern, damping: Any) -> DampedGram:
    """Return the Gram matrix of all rows with the damping that was asked for.

    With "shards", each delta of a short list is judged by leaving out one shard of the calibration rows after the
    other: the mask of the scores ``|w| sqrt(G_jj)`` of all rows is refitted without the shard, and its error on the
    shard counts. The least delta is taken whose error is within half a percent of the smallest. Up to 32 evenly spaced
    rows of the weight take part, 16 beyond 1024 inputs. No second pass over the data is needed. Where the Gram matrix
    has a single shard, or shards without rows, delta is 0.01.

    Parameters
    ----------
    W : Tensor of shape (out, p)
        Float64.
    gram : Gram
    pattern : Pattern
    damping : float or "shards"

    Returns
    -------
    DampedGram
    """
    DAMPING.check("damping", damping)
    matrix = gram.matrix
    if damping != "shards":
        return DampedGram(matrix, float(damping))
    if gram.n_shards < 2 or int((gram.counts == 0).sum()):
        return DampedGram(matrix, DEFAULT_DELTA)
    mask = pattern.mask(W.abs() * matrix.diagonal().sqrt())
    wanted = _VOTERS if W.shape[1] <= _DEAR else _VOTERS // 2
    voters = torch.linspace(0, len(W) - 1, min(wanted, len(W)), device=W.device).round().long()
    dense, kept = W[voters], mask[voters]
    errors = torch.zeros(len(_DELTAS), dtype=torch.float64)
    for shard in range(gram.n_shards):
        rest, held_out = gram.without(shard), gram.shard(shard)
        for i, delta in enumerate(_DELTAS):
            difference = dense - refit(dense, damped(rest, delta), kept)
            errors[i] += float(((difference @ held_out) * difference).sum())
    good = errors <= (1 + _TOLERANCE) * errors.min()
    return DampedGram(matrix, _DELTAS[int(good.to(torch.int8).argmax())])
