"""Columns that explain all others best: a greedy choice with a lower bound of its error."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import Integer
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["ColumnSubset", "column_subset_error", "greedy_column_subset"]

# A column counts as explained by others if they leave no more than this share of its energy: rounding could not tell.
_EXPLAINED = 1e-10
# A gain that was updated counts as exact if it is that near to the one computed anew.
_AGREEING = 1e-9
# Powers of two whose fourth powers, with sums of them, are far from the limits of double precision.
_LARGEST = 100
# Rows at a time that are made double.
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class ColumnSubset:
    """Columns of a matrix X in the order of their choice, and how well they explain all columns.

    Parameters
    ----------
    indices : ndarray of int of shape (n_columns,)
    errors : ndarray of float64 of shape (n_columns + 1,)
        For the first k columns, k from 0, the squared Frobenius norm of X minus its projection on their span, over
        that of X.
    bounds : ndarray of float64 of shape (n_columns + 1,)
        What the error of no k columns can fall below: the sum of the squared singular values from the (k + 1)-th on,
        over the sum of all. A linear autoencoder with k units attains it, with combinations of all columns.
    """

    indices: IndexArray
    errors: Float64Array
    bounds: Float64Array


def _checked(X: Any) -> Any:
    """Return X in double precision, multiplied by a power of two such that squares of large entries do not overflow.

    Errors are shares of the energy of X, and the choice of columns does not see a common factor either.
    """
    from sklearn.utils import check_array

    data = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32], input_name="X")
    largest = float(np.abs(_entries(data)).max(initial=0.0))
    exponent = np.frexp(largest)[1]
    # Entries of ordinary size stay as they are, bit by bit.
    return data if abs(exponent) < _LARGEST else data.astype(np.float64) * np.ldexp(1.0, -int(exponent))


def _factor(X: Any) -> Float64Array:
    """Return a matrix A with ``A'A = X'X`` in double precision, with no more rows than columns or than X has."""
    from scipy import linalg, sparse

    n, m = X.shape
    if not sparse.issparse(X):
        dense = X.astype(np.float64)
        return np.asarray(linalg.qr(dense, mode="r", overwrite_a=True)[0][:m]) if n > m else dense
    if n <= m:
        return np.asarray(X.astype(np.float64).toarray())
    wide = X.astype(np.float64)
    values, vectors = np.linalg.eigh((wide.T @ wide).toarray())
    return np.sqrt(values.clip(min=0.0))[:, None] * vectors.T


def greedy_column_subset(X: ArrayLike, n_columns: int) -> ColumnSubset:
    r"""Choose columns one by one, each the one with which the span of all chosen explains X best.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, m)
        Columns count by their energy, so they should be standardised unless their units mean something.
    n_columns : int
        How many to choose, from 1 to m.

    Returns
    -------
    ColumnSubset
        Of equal columns the first one is chosen. Once nothing is left to explain, the columns that follow are the
        first ones that were not chosen.

    Raises
    ------
    ValueError
        If X is no finite matrix, or has fewer columns.

    See Also
    --------
    QuickSelection : Features that the others help to predict, chosen by training a network.

    Notes
    -----
    With E the part of X that the columns chosen so far leave and C = E'E, column j lowers the squared error by

    .. math:: \|C_{:,j}\|^2 / C_{jj},

    the largest of which is taken: matching pursuit where every column of X is a target. Each step subtracts from E
    its projection on the new direction q. With w = E'q, C becomes C - w w', and the numbers :math:`f_i = \|C_{:,i}\|^2`
    become :math:`f_i - 2 w_i (C w)_i + \|w\|^2 w_i^2`. That of a column that is about to be chosen is computed anew.

    Time is O(n m min(n, m)) for a start, and O(m min(n, m)) for each column; memory is O(m min(n, m)).

    References
    ----------
    Farahat, Ghodsi and Kamel, An efficient greedy method for unsupervised feature selection, ICDM 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.gpu.dynamic import greedy_column_subset
    >>> a, b, c = np.eye(3)
    >>> found = greedy_column_subset(np.column_stack([a, 3 * a + b, 2 * b, 2 * c]), 2)
    >>> found.indices, found.errors.round(4), found.bounds.round(4)
    (array([1, 3]), array([1.    , 0.4053, 0.1947]), array([1.    , 0.3997, 0.1892]))
    """
    data = _checked(X)
    m = data.shape[1]
    n_columns = Integer(1, m).check("n_columns", n_columns)
    rest = _factor(data)
    energies = np.einsum("ij,ij->j", rest, rest)
    bounds = _tails(rest, n_columns)
    least, total = _EXPLAINED * energies, float(energies.sum())
    gains = np.einsum("ij,ij->j", rest, (rest @ rest.T) @ rest)
    indices, errors, is_open = np.empty(n_columns, dtype=np.intp), [1.0], np.ones(m, dtype=bool)
    for step in range(n_columns):
        j = _best(rest, gains, energies, is_open & (energies > least))
        if j is None:
            # Nothing is left to explain.
            indices[step:] = np.flatnonzero(is_open)[: n_columns - step]
            errors += [0.0] * (n_columns - step)
            break
        direction = rest[:, j] / np.sqrt(energies[j])
        w = direction @ rest
        gains += (w @ w) * w**2 - 2 * w * ((rest @ w) @ rest)
        rest -= np.outer(direction, w)
        indices[step], is_open[j] = j, False
        energies = np.einsum("ij,ij->j", rest, rest)
        errors.append(float(energies.sum() / total))
    return ColumnSubset(indices, np.array(errors), bounds)


def _best(rest: Float64Array, gains: Float64Array, energies: Float64Array, allowed: Any) -> int | None:
    """Return the column that explains most, the first of equal ones; None if none is allowed.

    Updates leave rounding errors in the gains. So the gain of the leading column is computed anew, and written to
    `gains`, until that does not change it.
    """
    if not allowed.any():
        return None
    ratios = np.where(allowed, gains / np.where(allowed, energies, 1.0), -np.inf)
    while True:
        j = int(ratios.argmax())
        products = rest[:, j] @ rest
        exact = float(products @ products)
        if abs(exact - gains[j]) <= _AGREEING * exact:
            return j
        gains[j], ratios[j] = exact, exact / energies[j]


def _tails(A: Float64Array, count: int) -> Float64Array:
    """Return the shares of the squared singular values after the first k, for k from 0 to `count`."""
    squares = np.linalg.svd(A, compute_uv=False) ** 2
    left = np.append(np.cumsum(squares[::-1])[::-1], np.zeros(max(count + 1 - squares.size, 1)))
    return left[: count + 1] / left[0] if left[0] > 0 else np.zeros(count + 1)


def column_subset_error(X: ArrayLike, indices: ArrayLike) -> float:
    """Return the share of the energy of a matrix that some of its columns do not explain.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, m)
    indices : array-like of int
        Numbers of the columns.

    Returns
    -------
    float
        Squared Frobenius norm of X minus its projection on the span of the columns, over that of X; 0 where X is zero.
        It takes O(n k (k + m)) time for k columns.

    Raises
    ------
    ValueError
        If X is no finite matrix, or a column does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.gpu.dynamic import column_subset_error
    >>> round(column_subset_error(np.diag([2.0, 1.0, 1.0]), [0]), 3)
    0.333
    """
    data, chosen = _checked(X), np.asarray(indices)
    n, m = data.shape
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu") or not np.isin(chosen, np.arange(m)).all():
        raise ValueError(f"indices must be integers from 0 to {m - 1}; got {indices!r}")
    if chosen.size == 0:
        return 1.0
    basis = _basis(data[:, chosen])
    products, energy = np.zeros((m, basis.shape[1])), 0.0
    for start in range(0, n, _ROWS):
        # In double precision, a block at a time.
        block = data[start : start + _ROWS].astype(np.float64)
        products += block.T @ basis[start : start + _ROWS]
        energy += float(np.linalg.norm(_entries(block)) ** 2)
    return max(0.0, 1.0 - float(np.linalg.norm(products) ** 2) / energy) if energy > 0 else 0.0


def _basis(columns: Any) -> Float64Array:
    """Return orthonormal columns with the span of the given ones."""
    from scipy import sparse

    dense = (columns.toarray() if sparse.issparse(columns) else columns).astype(np.float64)
    left, values, _ = np.linalg.svd(dense, full_matrices=False)
    # The usual rank: singular values below this are rounding errors.
    return np.asarray(left[:, values > max(dense.shape) * np.finfo(np.float64).eps * values.max(initial=0.0)])


def _entries(X: Any) -> Float64Array:
    """Return the entries of a dense matrix, or those that a sparse one holds."""
    return np.asarray(X.data if hasattr(X, "tocsr") else X)
