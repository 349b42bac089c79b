"""The least-squares problems of all rows of a weight, which share one Gram matrix."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from joblib import Parallel, delayed
from torch import Tensor

from sparsetheory.constraints import JOBS

__all__ = ["Problem", "in_chunks"]

# Blocks of rows that share work space, and the memory that goes with it.
_CHUNK = 16
# Of the sum of the squared terms of a row.
_LEAST_ENERGY = 1e-3


@dataclass(frozen=True, eq=False)
class Problem:
    """For each row w the minimisation of ``(w - s)' H (w - s)`` over what a mask keeps.

    Inputs that are always zero have no say: their weights are set to zero, and their rows and columns of the matrix
    to those of the identity. So they cost nothing to drop and gain nothing when they enter.

    Parameters
    ----------
    W : Tensor of shape (out, in)
        Weights, float64.
    H : Tensor of shape (in, in)
        Gram matrix, float64 and contiguous.
    b : Tensor of shape (out, in)
        ``W @ H``.
    """

    W: Tensor
    H: Tensor
    b: Tensor

    @classmethod
    def of(cls, W: Any, H: Any) -> "Problem":
        """Return the problems of checked weights and a checked matrix.

        Raises
        ------
        TypeError
            If one is not a tensor of float64 on the CPU.
        ValueError
            If shapes do not fit, entries are not finite, or a diagonal entry is negative.
        """
        for name, tensor in (("W", W), ("H", H)):
            if not isinstance(tensor, Tensor) or tensor.dtype != torch.float64 or tensor.device.type != "cpu":
                got = f"{tensor.dtype} on {tensor.device}" if isinstance(tensor, Tensor) else type(tensor).__name__
                raise TypeError(f"{name} must be a float64 tensor on the CPU; got {got}")
            if tensor.ndim != 2 or not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"{name} must be a finite matrix; got shape {tuple(tensor.shape)}")
        W, H = W.detach(), H.detach()
        if H.shape != (W.shape[1], W.shape[1]):
            raise ValueError(f"H must have shape {(W.shape[1], W.shape[1])}; got {tuple(H.shape)}")
        diagonal = H.diagonal()
        if bool((diagonal < 0).any()):
            raise ValueError("H must have no negative diagonal entry")
        dead = diagonal == 0
        if bool(dead.any()):
            W, H = W.masked_fill(dead, 0.0), H.masked_fill(dead | dead[:, None], 0.0)
            H.diagonal()[dead] = 1.0
        W, H = W.contiguous(), H.contiguous()
        return cls(W, H, W @ H)

    def energies(self) -> Tensor:
        """Return ``w' H w`` of every row."""
        return (self.W * self.b).sum(1)

    def scales(self) -> Tensor:
        """Return what gains and errors of every row are compared with.

        That is its energy. Where the terms of a row cancel, as in one that subtracts two equal inputs, the energy is a
        rounding error of the terms, and a share of their squares is taken.
        """
        return torch.maximum(self.energies(), _LEAST_ENERGY * (self.W**2 @ self.H.diagonal()))

    def objectives(self, weight: Tensor) -> Tensor:
        """Return ``(w - s)' H (w - s)`` of every row."""
        left = self.W - weight
        return ((left @ self.H) * left).sum(1)


@contextmanager
def _one_torch_thread() -> Any:
    # A product on two threads may round otherwise than on one: results would depend on the number of jobs.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_chunks(work: Callable[[range], Any], n_blocks: int, n_jobs: int | None) -> None:
    """Call a function on ranges of consecutive blocks, on threads; each call runs torch on one thread."""
    ranges = [range(i, min(i + _CHUNK, n_blocks)) for i in range(0, n_blocks, _CHUNK)]
    with _one_torch_thread():
        Parallel(n_jobs=JOBS.check("n_jobs", n_jobs), require="sharedmem")(delayed(work)(part) for part in ranges)
