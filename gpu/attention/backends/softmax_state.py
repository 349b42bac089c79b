"""Softmax over keys that arrive block by block."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SoftmaxState"]

# Below every score, and finite: with minus infinity the first difference of maxima would be no number.
_START = -1e30


@dataclass(frozen=True)
class SoftmaxState:
    """Softmax attention over the keys seen so far.

    With the running maximum m, the state holds ``l = sum_j exp(s_j - m)`` and ``acc = sum_j exp(s_j - m) v_j``. When
    a block raises the maximum to m', both are multiplied by ``exp(m - m')``, so they are the same sums over all keys
    whatever the order of blocks. Gradients treat the maxima as constants, which is exact: they cancel.

    Parameters
    ----------
    largest : Tensor of shape (..., queries, 1)
        Largest score m.
    mass : Tensor of shape (..., queries, 1)
        Normaliser l.
    weighted : Tensor of shape (..., queries, head_dim)
        Sum acc of weighted values.
    """

    largest: Tensor
    mass: Tensor
    weighted: Tensor

    @classmethod
    def empty(cls, q: Tensor) -> "SoftmaxState":
        """Return the state before the first key, in the dtype of `q`."""
        start = q.new_full((*q.shape[:-1], 1), _START)
        return cls(start, torch.zeros_like(start), torch.zeros_like(q))

    def updated(self, scores: Tensor, v: Tensor) -> tuple["SoftmaxState", Tensor]:
        """Return the state after a block of keys, and the share of the mass that is new.

        Parameters
        ----------
        scores : Tensor of shape (..., queries, keys)
            Minus infinity for a key that is not to be seen.
        v : Tensor of shape (..., keys, head_dim)
            Values of the keys.

        Returns
        -------
        state : SoftmaxState
        gain : Tensor of shape (..., queries)
            Mass of the block over the mass of all keys seen so far; 0 / 0 where none was to be seen yet.
        """
        largest = torch.maximum(self.largest, scores.detach().amax(-1, keepdim=True))
        shrink, weight = torch.exp(self.largest - largest), torch.exp(scores - largest)
        new = weight.sum(-1, keepdim=True)
        mass = shrink * self.mass + new
        return SoftmaxState(largest, mass, shrink * self.weighted + weight @ v), (new / mass)[..., 0]

    def flat(self) -> "SoftmaxState":
        """Return the state with all leading axes as one, in memory of its own."""
        return SoftmaxState(*(part.flatten(0, -3).clone() for part in (self.largest, self.mass, self.weighted)))

    def __getitem__(self, index: slice | Tensor) -> "SoftmaxState":
        return SoftmaxState(self.largest[index], self.mass[index], self.weighted[index])

    @property
    def out(self) -> Tensor:
        """The attention, of shape (..., queries, head_dim)."""
        return self.weighted / self.mass

    @property
    def lse(self) -> Tensor:
        """Logarithm of the sum of exponentials of all scores, of shape (..., queries)."""
        return (self.largest + torch.log(self.mass))[..., 0]
