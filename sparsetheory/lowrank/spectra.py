"""Exact singular spectra of concatenations, by SVD or by the smaller Gram matrix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg
from scipy import sparse

from sparsetheory.constraints import COUNT
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.interval import ErrorInterval, relative_slack
from sparsetheory.lowrank.operands import Matrix, gram, pairwise_sum
from sparsetheory.typing import Float64Array

__all__ = [
    "SVDError",
    "Spectrum",
    "block_svd_error",
    "captured",
    "compact",
    "exact_spectrum",
    "gram_floor",
    "squared_spectrum",
    "tail",
    "thin_svd",
]

Method = Literal["auto", "svd", "gram_rows", "gram_cols"]

# Below this share of the energy, rounding of a Gram matrix costs an error more than a few digits.
_GRAM_FLOOR = 1e-12
# Columns that one small factorisation of a wide matrix takes at least.
_FEWEST_COLUMNS = 512


def gram_floor(n_rows: int, n_columns: int) -> float:
    """Return the relative squared error below which a Gram matrix of this shape does not do."""
    return max(_GRAM_FLOOR, 100 * relative_slack(n_rows, n_columns))


def thin_svd(matrix: Matrix) -> tuple[Matrix, Float64Array, Matrix]:
    """Thin SVD that falls back to the slower, more robust LAPACK driver where divide and conquer fails."""
    try:
        u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    except np.linalg.LinAlgError:
        u, s, vh = scipy.linalg.svd(matrix, full_matrices=False, lapack_driver="gesvd")
    return u, s, vh


def compact(matrix: Matrix) -> Matrix:
    """Return a narrower matrix B with ``B @ B^H = A @ A^H``; matrices that are not wide are returned as they are.

    Notes
    -----
    A tree of QR factorisations of groups of columns: rounding grows with the number of rows and the logarithm of the
    number of columns, where one factorisation of all columns loses up to a rounding per column. Costs O(m^2 n).
    """
    n_rows, chunk = matrix.shape[0], max(2 * matrix.shape[0], _FEWEST_COLUMNS)
    while matrix.shape[1] > 2 * chunk:
        count = matrix.shape[1] // chunk
        groups = matrix[:, : count * chunk].reshape(n_rows, count, chunk).transpose(1, 2, 0)
        triangles = np.asarray(np.linalg.qr(groups.conj(), mode="r"))
        reduced = triangles.conj().transpose(2, 0, 1).reshape(n_rows, count * n_rows)
        matrix = np.hstack([reduced, matrix[:, count * chunk :]])
    return matrix


def _compact_union(blocks: Blocks, chosen: Sequence[int]) -> Matrix:
    """Compact blocks side by side; those of a wide union one after the other, so that it is never formed."""
    if blocks.widths[chosen].sum() <= 4 * blocks.n_rows:
        return blocks.concatenate(chosen)
    pending, width = [], 0
    for k in chosen:
        pending.append(compact(blocks[k]))
        width += pending[-1].shape[1]
        if width > 8 * max(blocks.n_rows, _FEWEST_COLUMNS):
            pending = [compact(np.hstack(pending))]
            width = pending[0].shape[1]
    return compact(np.hstack(pending))


def squared_spectrum(blocks: Blocks, indices: Iterable[int] | None = None, method: Method = "auto") -> Any:
    """Squared singular values of the chosen blocks side by side.

    Parameters
    ----------
    blocks : Blocks
        Checked blocks.
    indices : iterable of int, optional
        Which blocks; all by default.
    method : {"auto", "svd", "gram_rows", "gram_cols"}
        "auto" takes the smaller Gram matrix. Row Gram matrices are summed block by block, so that the
        concatenation is never formed.

    Returns
    -------
    ndarray of float64, shape (min(m, N),)
        Descending and non-negative.

    Notes
    -----
    Costs O(m N min(m, N)); memory O(min(m, N)^2) for the Gram forms. Sparse blocks are multiplied as they are.
    """
    chosen = list(range(len(blocks))) if indices is None else [int(k) for k in indices]
    n_columns = int(blocks.widths[chosen].sum())
    if method == "auto":
        method = "gram_rows" if blocks.n_rows <= n_columns else "gram_cols"
    if method == "svd":
        squares = np.linalg.svd(_compact_union(blocks, chosen), compute_uv=False) ** 2
        return squares[: min(blocks.n_rows, n_columns)]
    if method == "gram_rows":
        squares = scipy.linalg.eigvalsh(pairwise_sum(gram(blocks.operand(k)) for k in chosen), check_finite=False)
    elif method == "gram_cols":
        squares = scipy.linalg.eigvalsh(_column_gram(blocks, chosen), check_finite=False)
    else:
        raise ValueError(f"method must be 'auto', 'svd', 'gram_rows' or 'gram_cols'; got {method!r}")
    return np.maximum(squares[::-1][: min(blocks.n_rows, n_columns)], 0.0)


def _column_gram(blocks: Blocks, chosen: Sequence[int]) -> Matrix:
    operands = [blocks.operand(k) for k in chosen]
    kept = all(map(sparse.issparse, operands))
    joint = sparse.hstack(operands, format="csc") if kept else blocks.concatenate(chosen)
    return gram(joint.conj().T)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Squared singular values of some blocks side by side, with what is known of their rounding.

    Parameters
    ----------
    squares : ndarray, shape (min(m, N),)
        Descending.
    energy : float
        Squared Frobenius norm.
    shape : tuple of int
        Rows and columns.
    squared : bool
        Whether they come from a Gram matrix, whose rounding is a share of the energy.
    unit : float
        As in :class:`~sparsetheory.lowrank.ErrorInterval`.
    """

    squares: Float64Array
    energy: float
    shape: tuple[int, int]
    squared: bool
    unit: float = 1.0

    def interval(self, rank: int, method: str = "exact") -> ErrorInterval:
        """Return the error of the best rank-r approximation with its rounding allowance."""
        if rank >= min(self.shape):
            return ErrorInterval(0.0, 0.0, self.energy, method, 0.0, self.unit)
        error = tail(self.squares, rank)
        widened = ErrorInterval.from_bounds if self.squared else ErrorInterval.from_tails
        return widened(error, error, self.energy, self.shape, method, self.unit)


def exact_spectrum(
    blocks: Blocks, indices: Iterable[int] | None = None, rank: int = 1, method: Method = "auto"
) -> Spectrum:
    """Return the spectrum of some blocks, from a Gram matrix where that resolves the error at `rank`.

    Parameters
    ----------
    blocks, indices, method
        As in :func:`squared_spectrum`; "auto" repeats with an SVD what a Gram matrix does not resolve.
    rank : int
        The error of interest.
    """
    chosen = list(range(len(blocks))) if indices is None else [int(k) for k in indices]
    shape = (blocks.n_rows, int(blocks.widths[chosen].sum()))
    energy = float(blocks.energies[chosen].sum())
    squares, squared = squared_spectrum(blocks, chosen, method), method != "svd"
    if method == "auto" and rank < min(shape) and tail(squares, rank) <= gram_floor(*shape) * energy:
        squares, squared = squared_spectrum(blocks, chosen, "svd"), False
    return Spectrum(squares, energy, shape, squared, blocks.unit)


def tail(squares: Float64Array, rank: int) -> float:
    """Sum of all but the `rank` largest of descending squares: the squared best rank-r error."""
    return float(squares[rank:].sum())


def captured(squares: Float64Array, rank: int) -> float:
    """Sum of the `rank` largest of descending squares."""
    return float(squares[:rank].sum())


@dataclass(frozen=True)
class SVDError:
    r"""The exact error of the best rank-r approximation of concatenated blocks.

    Parameters
    ----------
    absolute : float
        :math:`E_r(C) = (\sum_{i>r} \sigma_i^2)^{1/2}`, in the units of the data.
    relative : float
        :math:`E_r(C) / \|C\|_F`, 0 for a zero matrix.
    energy : float
        :math:`\|C\|_F^2` in units of ``interval.unit**2``.
    singular_values : ndarray, shape (min(m, N),)
        Descending, in the units of the data.
    interval : ErrorInterval
        The same error with its rounding allowance.
    """

    absolute: float
    relative: float
    energy: float
    singular_values: Float64Array
    interval: ErrorInterval


def block_svd_error(blocks: Sequence[Any], rank: int, *, method: Method = "auto") -> SVDError:
    """Compute the exact best rank-r error of blocks placed side by side.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Real or complex blocks. Gram matrices of sparse ones are formed by sparse products; an SVD makes them dense.
    rank : int
        Target rank r, at least 1.
    method : {"auto", "svd", "gram_rows", "gram_cols"}
        "auto" uses the smaller Gram matrix and repeats with an SVD where squared data cannot resolve the error, for
        relative errors below 1e-6 or a little more. The other three do as they say, and the interval knows.

    Returns
    -------
    SVDError

    Raises
    ------
    ValueError, TypeError
        On invalid blocks, rank or method.

    Notes
    -----
    Costs O(m N min(m, N)). Eckart-Young-Mirsky: no rank-r matrix does better.

    Examples
    --------
    >>> import numpy as np
    >>> error = block_svd_error([np.diag([3.0, 0.0]), np.diag([0.0, 4.0])], rank=1)
    >>> error.absolute, error.relative
    (3.0, 0.6)
    """
    checked, rank = Blocks(blocks), COUNT.check("rank", rank)
    spectrum = exact_spectrum(checked, None, rank, method)
    squared, energy = tail(spectrum.squares, rank), checked.energy
    return SVDError(
        absolute=float(np.sqrt(squared)) * checked.unit,
        relative=float(np.sqrt(squared / energy)) if energy else 0.0,
        energy=energy,
        singular_values=np.sqrt(spectrum.squares) * checked.unit,
        interval=spectrum.interval(rank),
    )
