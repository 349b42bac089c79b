"""Points as rows of a tensor: what is accepted, and the copy of them that products are taken of."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.typing import Float64Array

__all__ = ["CentredRows", "as_rows", "direct_squares", "distance"]

# Bytes of the differences of pairs of rows that are in memory together.
_BYTES = 2**25


def as_rows(name: str, X: Any) -> Tensor:
    """Return points as a tensor on its own device, without a copy of an array or tensor.

    Raises
    ------
    ValueError
        If it is no matrix of finite floating-point numbers with at least one column.
    """
    # Numbers in a list are read by numpy, in double precision.
    rows = X.detach() if isinstance(X, Tensor) else _from_numpy(name, X)
    if not rows.is_floating_point():
        raise ValueError(f"{name} must hold floating-point numbers; got {rows.dtype}")
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"{name} must have shape (n_samples, n_features); got {tuple(rows.shape)}")
    if not bool(torch.isfinite(rows).all()):
        raise ValueError(f"{name} must be finite; got infinite entries or NaN")
    return rows


def _from_numpy(name: str, X: Any) -> Tensor:
    values = np.asarray(X)
    if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
        raise ValueError(f"{name} must hold floating-point numbers; got {values.dtype}")
    # Torch cannot take views with negative strides, and warns of arrays that cannot be written to.
    ready = values.flags.writeable and all(stride >= 0 for stride in values.strides) and values.dtype.isnative
    return torch.from_numpy(values if ready else np.array(values, dtype=values.dtype.newbyteorder("=")))


@dataclass(frozen=True, eq=False)
class CentredRows:
    r"""Points less their mean, in the unit of their largest entry, for squared distances by matrix products.

    A product of p terms and the squares beside it, with the centring and all sums, err by at most
    :math:`e_{ij} = 2 (p + 8) \epsilon (|x_i|^2 + |x_j|^2)` together. The mean is taken off first, as that bound grows
    with the distance from the origin.

    Parameters
    ----------
    raw : Tensor of shape (n, p)
        The points as they were given.
    rows : Tensor of shape (n, p)
        Centred and scaled, in single or double precision.
    shrunk : Tensor of shape (n,)
        Squared norms times ``1 - 2 (p + 8) eps``, less what squares that are no normal numbers may be off.
    scale : float
        The power of two that the points were multiplied by.
    """

    raw: Tensor
    rows: Tensor
    shrunk: Tensor
    scale: float

    @classmethod
    def of(cls, raw: Tensor) -> "CentredRows":
        """Centre points; O(n p) time and one copy of them."""
        # Torch may be told to take products of single precision in a shorter one.
        single = raw.dtype != torch.float64 and torch.get_float32_matmul_precision() == "highest"
        dtype = torch.float32 if single else torch.float64
        largest = float(raw.abs().max()) if raw.numel() else 0.0
        # Squares of the scaled points do not overflow.
        limit = 1000 if dtype == torch.float64 else 120
        scale = 2.0 ** -min(max(math.frexp(largest)[1], -limit), limit)
        rows = raw.to(dtype) * scale
        rows -= rows.mean(0)
        terms, info = rows.shape[1] + 8, torch.finfo(dtype)
        return cls(raw, rows, rows.square().sum(1) * (1 - 2 * terms * info.eps) - terms * info.tiny, scale)

    def lower_bounds(self, start: int, stop: int, first: int, last: int) -> Tensor:
        """Return lower bounds of squared scaled distances, less the part that only depends on the row.

        Rows ``start`` to ``stop`` against rows ``first`` to ``last``; add `shrunk` of the row for the bound itself.
        """
        return torch.addmm(self.shrunk[first:last], self.rows[start:stop], self.rows[first:last].T, alpha=-2)


def direct_squares(X: Tensor, first: Tensor, second: Tensor, scale: float) -> Tensor:
    """Return squared scaled distances of pairs of rows from their differences, in double precision."""
    parts = []
    step = max(1, _BYTES // (8 * X.shape[1]))
    for start in range(0, len(first), step):
        chunk = slice(start, start + step)
        parts.append((X[first[chunk]].double() - X[second[chunk]].double()).mul_(scale).square_().sum(1))
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64, device=X.device)


def distance(first: Tensor, second: Tensor) -> float:
    """Return the Euclidean distance of two points in double precision; squares neither overflow nor underflow."""
    difference = _double(first) - _double(second)
    largest = float(np.abs(difference).max())
    return largest * float(np.linalg.norm(difference / largest)) if largest else 0.0


def _double(point: Tensor) -> Float64Array:
    return np.asarray(point.double().cpu().numpy(), dtype=np.float64)
