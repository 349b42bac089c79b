"""Gram matrices of the inputs of a layer, collected batch by batch, mergeable, in double precision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, MISSING, Integer

__all__ = ["Gram", "as_gram"]

_SHARDS = 4
# Rows that are held in double precision at a time.
_ROWS = 4096


@dataclass(eq=False)
class Gram:
    """Mean outer product of rows, ``X'X / n_samples``, kept as sums over a few shards of the rows.

    Whoever chooses a hyper-parameter by leaving data out needs no second pass: the Gram matrix without a shard is the
    difference of two sums. Sums of several workers add up, see :meth:`merge`.

    Parameters
    ----------
    sums : Tensor of shape (n_shards, n_features, n_features)
        Sum of the outer products of each shard, float64.
    counts : Tensor of shape (n_shards,)
        Rows in each shard, int64.

    Examples
    --------
    >>> import torch
    >>> gram = Gram.empty(2)
    >>> gram.update(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> gram.n_samples, gram.matrix.tolist()
    (2, [[5.0, 7.0], [7.0, 10.0]])
    """

    sums: Tensor
    counts: Tensor

    @classmethod
    def empty(cls, n_features: int, *, n_shards: int = _SHARDS, device: Any = "cpu") -> Self:
        """Return the Gram matrix of no rows.

        Parameters
        ----------
        n_features : int
            Columns of the data.
        n_shards : int
            Parts of the data that can be left out, from 1. Memory is ``8 n_shards n_features**2`` bytes.
        device : torch.device or str
            Where sums are kept.

        Returns
        -------
        Gram
        """
        COUNT.check("n_features", n_features)
        COUNT.check("n_shards", n_shards)
        sums = torch.zeros(n_shards, n_features, n_features, dtype=torch.float64, device=device)
        return cls(sums, torch.zeros(n_shards, dtype=torch.int64))

    @classmethod
    def of(cls, X: Tensor, *, n_shards: int = _SHARDS) -> Self:
        """Return the Gram matrix of the rows of one array, cut into consecutive shards of nearly equal length."""
        gram = cls.empty(X.shape[-1], n_shards=n_shards, device=X.device)
        for shard, rows in enumerate(X.reshape(-1, X.shape[-1]).tensor_split(n_shards)):
            gram.update(rows, shard=shard)
        return gram

    def update(self, x: Tensor, mask: Tensor | None = None, *, shard: int | None = None) -> None:
        """Add rows, in place. O(rows n_features^2) operations.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Rows along the last axis, in any floating-point precision.
        mask : Tensor of shape (...), optional
            Which rows count: those that are not zero, such as an attention mask.
        shard : int, optional
            To which shard the rows belong; by default to the one that has the fewest rows so far.

        Raises
        ------
        ValueError
            If the number of features or the shape of the mask does not fit, or an entry is not finite.
        """
        if x.shape[-1] != self.n_features:
            raise ValueError(f"x must have {self.n_features} features; got shape {tuple(x.shape)}")
        (MISSING | Integer(0, self.n_shards - 1)).check("shard", shard)
        rows = x.detach().reshape(-1, self.n_features)
        if mask is not None:
            if mask.shape != x.shape[:-1]:
                raise ValueError(f"mask must have shape {tuple(x.shape[:-1])}; got {tuple(mask.shape)}")
            rows = rows[mask.reshape(-1).to(rows.device) != 0]
        if not bool(torch.isfinite(rows).all()):
            raise ValueError("x must be finite; got infinite entries or NaN")
        where = int(self.counts.argmin()) if shard is None else shard
        for part in rows.split(_ROWS):
            precise = part.to(self.sums.device, torch.float64)
            self.sums[where].addmm_(precise.T, precise)
        self.counts[where] += rows.shape[0]

    def merge(self, other: "Gram") -> "Gram":
        """Return the Gram matrix of the rows of both; shards are added one by one.

        Raises
        ------
        ValueError
            If the numbers of features or shards differ.
        """
        if self.sums.shape != other.sums.shape:
            raise ValueError(
                f"other must have {self.n_features} features in {self.n_shards} shards; "
                f"got {other.n_features} in {other.n_shards}"
            )
        return type(self)(self.sums + other.sums.to(self.sums.device), self.counts + other.counts)

    @property
    def n_features(self) -> int:
        """Columns of the data."""
        return self.sums.shape[-1]

    @property
    def n_shards(self) -> int:
        """Parts of the data that can be left out."""
        return self.sums.shape[0]

    @property
    def n_samples(self) -> int:
        """Rows seen so far."""
        return int(self.counts.sum())

    @property
    def matrix(self) -> Tensor:
        """``X'X / n_samples`` of all rows, exactly symmetric, float64 of shape (n_features, n_features)."""
        return _mean(self.sums.sum(0), self.n_samples)

    def shard(self, index: int) -> Tensor:
        """Return the mean outer product of the rows of one shard."""
        Integer(0, self.n_shards - 1).check("index", index)
        return _mean(self.sums[index], int(self.counts[index]))

    def without(self, index: int) -> Tensor:
        """Return the mean outer product of all rows but those of one shard."""
        Integer(0, self.n_shards - 1).check("index", index)
        # Not the difference to the sum of all, which may be indefinite by rounding.
        others = [shard for shard in range(self.n_shards) if shard != index]
        return _mean(self.sums[others].sum(0), int(self.counts[others].sum()))

    def to(self, device: Any) -> "Gram":
        """Return the same sums on another device."""
        return type(self)(self.sums.to(device), self.counts)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sums and counts, to be saved."""
        return {"sums": self.sums, "counts": self.counts}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> Self:
        """Return what was saved by :meth:`state_dict`."""
        return cls(state["sums"], state["counts"])


def as_gram(gram: Any, n_features: int, *, name: str = "gram") -> Gram:
    """Return a checked Gram of one shard from a matrix, or a Gram as it is given.

    Raises
    ------
    ValueError
        If it is not square, symmetric and finite, does not fit the number of features, or holds no rows.
    """
    if isinstance(gram, Gram):
        if gram.n_samples < 1:
            raise ValueError(f"{name} must hold at least 1 row; got none")
        if not bool(torch.isfinite(gram.sums).all()):
            raise ValueError(f"{name} must be finite; got infinite entries or NaN")
        found = gram
    else:
        # Through numpy, where numbers of lists are in double precision.
        given = gram if isinstance(gram, Tensor) else torch.from_numpy(np.array(gram))
        matrix = given.to(torch.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"{name} must be a square matrix; got shape {tuple(matrix.shape)}")
        if not bool(torch.isfinite(matrix).all()):
            raise ValueError(f"{name} must be finite; got infinite entries or NaN")
        # Entries (i, j) and (j, i) of a product may be summed in different orders.
        rounding = max(1e-8, 16 * torch.finfo(given.dtype).eps) if given.is_floating_point() else 0.0
        if matrix.numel() and _asymmetry(matrix) > rounding * float(matrix.abs().max()):
            raise ValueError(f"{name} must be symmetric; got entries that differ by {_asymmetry(matrix):.3g}")
        found = Gram(((matrix + matrix.T) / 2).unsqueeze(0), torch.ones(1, dtype=torch.int64))
    if found.n_features != n_features:
        raise ValueError(f"{name} must have {n_features} rows and columns; got {found.n_features}")
    if bool((found.sums.diagonal(dim1=-2, dim2=-1) < 0).any()):
        raise ValueError(f"{name} must have no negative diagonal entry")
    return found


def _asymmetry(matrix: Tensor) -> float:
    return float((matrix - matrix.T).abs().max())


def _mean(total: Tensor, count: int) -> Tensor:
    total = total / max(count, 1)
    return (total + total.T) / 2
