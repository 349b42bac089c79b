"""Sparse features as codes: one non-zero in each block of columns, kept as its place and sign."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import Choice
from sparsetheory.numba_kernels.bandits.codes import agreements
from sparsetheory.typing import AnyArray, Float64Array, FloatArray

__all__ = ["BlockCodes", "float_type", "smallest_unsigned"]


def float_type(dtype: Any) -> np.dtype[Any]:
    """Return single or double precision, by any name that NumPy knows."""
    return np.dtype(Choice("float32", "float64").check("dtype", np.dtype(dtype).name))


def smallest_unsigned(largest: int) -> Any:
    """Return the smallest type of unsigned integers that holds a number."""
    return np.min_scalar_type(largest)


@dataclass(frozen=True, eq=False)
class BlockCodes:
    r"""Rows of unit length with one non-zero in each of s blocks of columns, all of size :math:`s^{-1/2}`.

    A row of n blocks takes n small integers, where its features take n times `block_size` numbers.

    Parameters
    ----------
    codes : ndarray of unsigned integers, of shape (n_actions, n_blocks)
        Place of the non-zero in its block; of signed codes twice the place, plus one where the entry is negative.
    block_size : int
        Columns of a block.
    signed : bool
        Whether codes hold signs.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits.environments.block_codes import BlockCodes
    >>> BlockCodes(np.array([[0], [2]], dtype=np.uint8), 3, False).dense().tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """

    codes: AnyArray
    block_size: int
    signed: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Number of actions and of features."""
        return len(self.codes), self.codes.shape[1] * self.block_size

    def dense(self, rows: ArrayLike | None = None, dtype: Any = np.float64) -> FloatArray:
        """Return features as a matrix: of the given rows, or of all.

        Parameters
        ----------
        rows : array-like of int, optional
            Numbers of actions.
        dtype : {"float64", "float32"} or dtype
            Precision of the matrix.
        """
        codes = self.codes if rows is None else self.codes[np.asarray(rows, dtype=np.intp)]
        n, n_blocks = codes.shape
        features = np.zeros((n, n_blocks * self.block_size), dtype=float_type(dtype))
        size = n_blocks**-0.5
        for block in range(n_blocks):
            places = codes[:, block].astype(np.intp)
            signs = 1.0 - 2.0 * (places & 1) if self.signed else 1.0
            features[np.arange(n), block * self.block_size + (places >> int(self.signed))] = size * signs
        return features

    def inner(self, action: int) -> Float64Array:
        """Return the inner products of all rows with one of them; O(n_actions n_blocks) time."""
        row = np.ascontiguousarray(self.codes[action])
        counts = np.empty(len(self.codes), dtype=np.int64)
        agreements(self.codes, row, counts)
        if self.signed:  # the same place with the other sign
            opposite = np.empty_like(counts)
            agreements(self.codes, row ^ row.dtype.type(1), opposite)
            counts -= opposite
        return counts / self.codes.shape[1]
