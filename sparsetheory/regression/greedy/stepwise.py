"""Greedy selection of columns: forward one by one, a length chosen from the path, and backward deletion."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.greedy.forward_search import ForwardSearch
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["ForwardPath", "backward", "choose_length", "feature_cost", "forward_path", "refit", "support_coefficients"]


# A residual of 1e-14 of the response, squared, is rounding.
_EXHAUSTED = 1e-28
# Pivots of normalised columns below this mean dependence.
_RCOND = 1e-11
# Squared lengths that shrink below this fraction are cancellation, and are computed afresh.
_SHRUNK = 1e-6


@dataclass(frozen=True)
class ForwardPath:
    """Columns in the order of their selection.

    Attributes
    ----------
    indices : ndarray of int, shape (n_steps,)
        Selected columns.
    gains : ndarray of shape (n_steps,)
        Drop of the residual sum of squares in each step.
    rss : ndarray of shape (n_steps + 1,)
        Residual sum of squares before the first and after each step.
    basis : ndarray of shape (n_samples, n_steps)
        Orthonormal; the first t columns span what the first t selected columns span, after the projection.
    """

    indices: IndexArray
    gains: Float64Array
    rss: Float64Array
    basis: Float64Array


def forward_path(
    columns: Columns,
    y: Float64Array,
    squares: Float64Array,
    *,
    max_steps: int,
    fixed_norms: bool = False,
    stop_gain: float | None = None,
    stop_rss: float = 0.0,
) -> ForwardPath:
    """Select columns one by one, each time the one that lowers the residual sum of squares most.

    Parameters
    ----------
    columns : Columns
        Design, seen through a projection.
    y : ndarray of shape (n_samples,)
        Response, projected alike.
    squares : ndarray of shape (n_features,)
        Squared norms of the projected columns; a column of square zero is never selected.
    max_steps : int
        Largest number of columns.
    fixed_norms : bool
        Compare correlations with the columns as they are, not with what the selected ones leave of them: orthogonal
        matching pursuit in place of forward stepwise regression.
    stop_gain : float, optional
        Stop before a step that gains less.
    stop_rss : float
        Stop once the residual sum of squares is at most this.

    Returns
    -------
    ForwardPath
        Shorter than `max_steps` if a rule stopped it, if nothing but rounding is left of the residual, or if all
        columns depend on the selected ones (less than 1e-12 of their square is left).

    Notes
    -----
    One pass over the design per step, O(n_samples * n_features), and one more every tenth step. The squares left of
    the columns are updated by differences, which cancel; the winner of every step is therefore formed explicitly, and
    is replaced if its own gain is below what the differences promised. The residual sum of squares falls in each step
    by the square of the correlation over what is left of the column's square. Classical: Pati, Rezaiifar and
    Krishnaprasad 1993 (`fixed_norms`); Chen, Billings and Luo 1989.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    >>> columns = Columns(X)
    >>> path = forward_path(columns, np.array([0.0, 3.0, 1.0]), columns.squares(), max_steps=2)
    >>> path.indices.tolist(), path.gains.round(6).tolist(), path.rss.round(6).tolist()
    ([1, 0], [4.5, 4.5], [10.0, 5.5, 1.0])
    """
    rank = 0 if columns.basis is None else columns.basis.shape[1]
    steps = max(min(max_steps, columns.n_features, columns.n_samples - rank), 0)
    # Squared correlations hold the squares of response and column: the response's unit, a power of two, is taken off.
    unit = 2.0 ** np.frexp(np.linalg.norm(y))[1]
    search = ForwardSearch(columns, y / unit, squares, steps, fixed_norms)
    floor = max(stop_rss / unit**2, _EXHAUSTED * search.rss[0])
    least = None if stop_gain is None else stop_gain / unit**2
    while search.size < steps and search.rss[-1] > floor:
        candidate = search.propose()
        if candidate is None or (least is not None and candidate.coordinate**2 < least):
            break
        search.accept(candidate)
    gains = np.array(search.coordinates, dtype=np.float64) ** 2
    indices = np.array(search.indices, dtype=np.intp)
    return ForwardPath(indices, gains * unit**2, np.array(search.rss) * unit**2, search.basis[:, : search.size])


def feature_cost(noise_std: float, n_features: int) -> float:
    """Return ``2 noise_std^2 log n_features``, about what the best of many features of pure noise gains."""
    return float(2 * noise_std**2 * np.log(max(n_features, 2)))


def choose_length(path: ForwardPath, n_samples_left: float, n_features: int) -> tuple[int, float]:
    r"""Choose how many steps of a path to keep when the noise is not known.

    Parameters
    ----------
    path : ForwardPath
        Forward selection.
    n_samples_left : float
        Number n of samples less the dimension that was projected out.
    n_features : int
        Number d of columns that competed.

    Returns
    -------
    length : int
        The minimiser over t of :math:`\sum_{s < t} (n - s - 1) \log(rss_{s+1} / rss_s) + 2 t \log d`, over the whole
        path, so that a step may pay only together with later ones; at most n / 5, because the logarithm of a residual
        that interpolates has no lower limit.
    noise_std : float
        ``sqrt(rss / (n - length))``.

    Notes
    -----
    The unit of the response cancels. Where the residual after s steps is pure noise, its squared cosine with one column
    exceeds x with probability at most :math:`(1 - x)^{(n - s - 1) / 2}`, and a step pays if d times that is below 1:
    the cost :math:`2 \log d` of the risk inflation criterion (Foster and George 1994), exact in small samples too.
    With the weight n in place of n - s - 1, noise would pay from some step on.

    Examples
    --------
    >>> import numpy as np
    >>> path = ForwardPath(np.arange(2), np.array([90.0, 1.0]), np.array([100.0, 10.0, 9.0]), np.empty((20, 2)))
    >>> length, noise_std = choose_length(path, 20, 100)
    >>> length, round(noise_std, 4)
    (1, 0.7255)
    """
    longest = max(min(path.indices.size, int(n_samples_left // 5)), 0)
    logs = np.log(np.maximum(path.rss[: longest + 1], np.finfo(np.float64).tiny))
    gains = (n_samples_left - np.arange(1, longest + 1)) * np.diff(logs)
    length = int(np.argmin(np.append(0.0, np.cumsum(gains + 2 * np.log(max(n_features, 2))))))
    return length, float(np.sqrt(path.rss[length] / max(n_samples_left - length, 1.0)))


def backward(columns: Float64Array, y: Float64Array, threshold: float, *, min_size: int = 0) -> IndexArray:
    r"""Delete columns one by one, each time the one whose loss raises the residual sum of squares least.

    Parameters
    ----------
    columns : ndarray of shape (n_samples, n_columns)
        Columns of a model.
    y : ndarray of shape (n_samples,)
        Response.
    threshold : float
        Delete while the increase is below this.
    min_size : int
        Keep at least so many columns, as far as there are independent ones.

    Returns
    -------
    ndarray of int
        Positions of the columns that are kept, increasing.

    Notes
    -----
    Columns that depend on others (pivots of normalised columns below 1e-11) go first. With :math:`X = QR`, the rows
    :math:`w_j` of :math:`R^{-1}` are the dual basis: deleting column j costs
    :math:`(w_j^\top Q^\top y)^2 / \|w_j\|^2`, and projects the other rows off :math:`w_j`. One deletion is
    O(c^2); rows that lose most of their length are recomputed from R, at O(c^3).

    Examples
    --------
    >>> import numpy as np
    >>> backward(np.eye(4)[:, :3], np.array([3.0, 0.1, 2.0, 1.0]), threshold=1.0).tolist()
    [0, 2]
    """
    members, triangle, target = _factor(columns, y)[:3]
    duals = _dual_rows(triangle)
    squares = fresh = np.einsum("ij,ij->i", duals, duals)
    while members.size > min_size:
        increases = (duals @ target) ** 2 / squares
        worst = int(np.argmin(increases))
        if not increases[worst] < threshold:
            break
        kept = np.arange(members.size) != worst
        deleted = duals[worst] / np.sqrt(squares[worst])
        members, triangle, duals, fresh = members[kept], triangle[:, kept], duals[kept], fresh[kept]
        duals -= np.outer(duals @ deleted, deleted)
        squares = np.einsum("ij,ij->i", duals, duals)
        if np.any(squares < _SHRUNK * fresh):
            duals = _dual_rows(triangle)
            squares = fresh = np.einsum("ij,ij->i", duals, duals)
    return np.sort(members)


def refit(columns: Float64Array, y: Float64Array) -> Float64Array:
    """Return least-squares coefficients of some columns; those that depend on others get zero.

    Parameters
    ----------
    columns : ndarray of shape (n_samples, n_columns)
        Columns.
    y : ndarray of shape (n_samples,)
        Response.

    Returns
    -------
    ndarray of shape (n_columns,)

    Examples
    --------
    >>> import numpy as np
    >>> refit(np.array([[1.0, 1.0], [0.0, 2.0], [0.0, 0.0]]), np.array([3.0, 4.0, 5.0])).round(6).tolist()
    [1.0, 2.0]
    """
    members, triangle, target, norms = _factor(columns, y)
    coef = np.zeros(columns.shape[1])
    coef[members] = scipy.linalg.solve_triangular(triangle, target) / norms[members]
    return coef


def support_coefficients(columns: Columns, y: Float64Array, support: IndexArray) -> Float64Array:
    """Return the coefficients of all columns: least squares on a support, zero elsewhere."""
    coef = np.zeros(columns.n_features)
    coef[support] = refit(columns.take(support), y)
    return coef


def _factor(columns: Float64Array, y: Float64Array) -> tuple[IndexArray, Float64Array, Float64Array, Float64Array]:
    """Return independent columns, their triangular factor once normalised, ``Q'y``, and the norms of all."""
    norms = np.sqrt(np.einsum("ij,ij->j", columns, columns))
    norms[norms == 0] = 1.0
    if columns.shape[1] == 0:
        return np.empty(0, np.intp), np.empty((0, 0)), np.empty(0), norms
    target, triangle, order = scipy.linalg.qr_multiply(
        columns / norms, y, mode="right", pivoting=True, overwrite_a=True
    )
    rank = int(np.count_nonzero(np.abs(np.diagonal(triangle)) > _RCOND))
    return order[:rank].astype(np.intp), triangle[:rank, :rank], target[:rank], norms


def _dual_rows(triangle: Float64Array) -> Float64Array:
    """Return the pseudo-inverse of a factor of full column rank."""
    basis, square = scipy.linalg.qr(triangle, mode="economic")
    return np.asarray(scipy.linalg.solve_triangular(square, basis.T))
