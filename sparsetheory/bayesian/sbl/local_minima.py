"""The landscape of the cost: sparse points below any point, and all local minima of small noiseless problems."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, islice, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import linprog

from sparsetheory.bayesian.kronecker.checks import as_tensor, check_dictionaries
from sparsetheory.bayesian.kronecker.factor_checks import check_factors
from sparsetheory.bayesian.noise import VARIANCE
from sparsetheory.constraints import COUNT
from sparsetheory.typing import BoolArray, Float64Array, IndexArray, InexactArray

__all__ = ["kron_local_minima", "mode_sparsify", "sbl_local_minima", "sbl_sparsify"]

_MAX_SUBSETS = 200_000


def _one_matrix(A: ArrayLike) -> InexactArray:
    return check_dictionaries([A]).matrices[0]


def _basic_solution(equations: Float64Array, rhs: Float64Array, cost: Float64Array) -> Float64Array:
    """Return a vertex of ``{z >= 0, equations @ z = rhs}`` with least cost."""
    norms = np.linalg.norm(equations, axis=1)
    live = norms > 0
    scaled, target = equations[live] / norms[live, None], rhs[live] / norms[live]
    found = linprog(cost, A_eq=scaled, b_eq=target, bounds=(0, None), method="highs-ds")
    if found.status != 0:
        raise RuntimeError(f"the linear program was not solved: {found.message}")
    # The solver knows the vertex to its feasibility tolerance only; its support gives it exactly.
    basis = _independent(scaled, found.x, cost)
    result = np.zeros(cost.size)
    result[basis] = np.maximum(np.linalg.lstsq(scaled[:, basis], target, rcond=None)[0], 0.0)
    return result


def _independent(equations: Float64Array, solution: Float64Array, cost: Float64Array) -> IndexArray:
    """Return the support after moves within dependent columns, at no cost, until those that remain are independent."""
    basis = np.flatnonzero(solution > 0)
    values = solution[basis]
    while basis.size:
        singular, right = np.linalg.svd(equations[:, basis])[1:]
        if basis.size <= equations.shape[0] and singular[-1] > 1e-13 * singular[0]:
            break
        direction = right[-1] if cost[basis] @ right[-1] <= 0 else -right[-1]
        falling = direction < 0
        if not falling.any():
            direction, falling = -direction, ~falling
        steps = np.where(falling, values / np.where(falling, -direction, 1.0), np.inf)
        leaving = int(np.argmin(steps))
        values = np.delete(values + steps[leaving] * direction, leaving)
        basis = np.delete(basis, leaving)
    return basis


def sbl_sparsify(A: ArrayLike, y: ArrayLike, variances: ArrayLike, *, noise_variance: float) -> Float64Array:
    r"""Return sparse variances whose cost is no higher.

    With :math:`u = C^{-1}y`, every :math:`\gamma' \ge 0` with
    :math:`A\,\mathrm{diag}(A^H u)\gamma' = y - \sigma^2 u` has the same data term, and the log determinant lies below
    its tangent :math:`q^\top \gamma'`: a vertex that minimises the tangent has a cost that is no higher.

    Parameters
    ----------
    A : array-like of shape (M, N)
        Dictionary.
    y : array-like of shape (M,)
        Measurements.
    variances : array-like of shape (N,)
        Prior variances, not negative.
    noise_variance : float
        Positive.

    Returns
    -------
    ndarray of shape (N,)
        At most M entries are not zero; at most 2 M for complex data.

    Raises
    ------
    ValueError
        If a shape does not fit or a value is out of range.

    Notes
    -----
    One linear program. Wipf and Rao (2004) for real data.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import sbl_cost, sbl_sparsify
    >>> rng = np.random.default_rng(0)
    >>> A, y, variances = rng.standard_normal((4, 12)), rng.standard_normal(4), np.ones(12)
    >>> sparse = sbl_sparsify(A, y, variances, noise_variance=0.1)
    >>> dense_cost = sbl_cost([A], y, [variances], noise_variance=0.1)
    >>> int((sparse > 0).sum()) <= 4, sbl_cost([A], y, [sparse], noise_variance=0.1) <= dense_cost
    (True, True)
    """
    matrix = _one_matrix(A)
    y = as_tensor(y, [matrix.shape[0]], "y").values
    if y.ndim != 1:
        raise ValueError(f"y must be a single vector; got shape {y.shape}")
    (variances,) = check_factors("variances", [variances], [matrix.shape[1]])
    noise = VARIANCE.check("noise_variance", noise_variance)
    signal = (matrix * variances) @ matrix.conj().T
    factor = cho_factor(noise * np.eye(y.size) + signal)
    u = cho_solve(factor, y)
    q = np.einsum("mn,mn->n", matrix.conj(), cho_solve(factor, matrix)).real
    # Relative to the given variances all unknowns are near one.
    scale = np.where(variances > 0, variances, variances.max())
    equations, rhs = matrix * (matrix.conj().T @ u) * scale, signal @ u
    if np.iscomplexobj(equations):
        equations, rhs = np.vstack([equations.real, equations.imag]), np.concatenate([rhs.real, rhs.imag])
    return scale * _basic_solution(equations, rhs, q * scale)


def mode_sparsify(A: ArrayLike, variances: ArrayLike) -> Float64Array:
    r"""Return sparse factors of one mode with the same :math:`A\,\mathrm{diag}(\gamma)A^H`, hence the same cost.

    Parameters
    ----------
    A : array-like of shape (M, N)
        Dictionary of the mode.
    variances : array-like of shape (N,)
        Its factor, not negative.

    Returns
    -------
    ndarray of shape (N,)
        At most M (M + 1) / 2 entries are not zero; at most M^2 for a complex dictionary.

    Raises
    ------
    ValueError
        If a shape does not fit or a value is negative.

    Notes
    -----
    Carathéodory's theorem for the matrices :math:`aa^H`, by a linear program (ours).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian.sbl.local_minima import mode_sparsify
    >>> A = np.random.default_rng(0).standard_normal((2, 9))
    >>> g = mode_sparsify(A, np.ones(9))
    >>> int((g > 0).sum()) <= 3, np.allclose((A * g) @ A.T, A @ A.T)
    (True, True)
    """
    matrix = _one_matrix(A)
    (variances,) = check_factors("variances", [variances], [matrix.shape[1]])
    products = matrix[:, None, :] * matrix.conj()[None, :, :]
    pairs = np.asarray(products[np.triu_indices(matrix.shape[0])].real, dtype=np.float64)
    if np.iscomplexobj(matrix):
        pairs = np.vstack([pairs, products[np.triu_indices(matrix.shape[0], 1)].imag])
    scale = np.where(variances > 0, variances, variances.max())
    return scale * _basic_solution(pairs * scale, pairs @ variances, np.ones(variances.size))


def _chunks(n: int, m: int, chunk: int) -> Iterator[IndexArray]:
    subsets = combinations(range(n), m)
    while block := list(islice(subsets, chunk)):
        yield np.array(block, dtype=np.intp)


def sbl_local_minima(A: ArrayLike, y: ArrayLike, *, chunk_size: int = 20_000) -> list[tuple[int, ...]]:
    r"""Return the supports of all strict local minima of the cost without noise.

    A local minimum explains y by M independent columns S with :math:`x = A_S^{-1}y`. It is strict if no other column n
    lowers the cost: with :math:`w = A_S^{-1}a_n / x`, if :math:`\sum_k w_k^2 > (\sum_k w_k)^2`.

    Parameters
    ----------
    A : array-like of shape (M, N)
        Real dictionary of at least two rows; at most 200 000 subsets of M columns.
    y : array-like of shape (M,)
        Real measurements.
    chunk_size : int
        Subsets solved at a time.

    Returns
    -------
    list of tuple of int
        Supports in lexicographic order.

    Raises
    ------
    ValueError
        If the data are complex or do not fit, A has a single row (the cost is flat), or there are too many subsets.

    Notes
    -----
    O(C(N, M) M^2 N). Minima with fewer than M columns, which need a degenerate y, are left out. Ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import sbl_local_minima
    >>> rng = np.random.default_rng(1)
    >>> A = rng.standard_normal((2, 4))
    >>> minima = sbl_local_minima(A, rng.standard_normal(2))
    >>> len(minima) >= 1, all(len(S) == 2 for S in minima)
    (True, True)
    """
    matrix = _one_matrix(A)
    y = as_tensor(y, [matrix.shape[0]], "y").values
    COUNT.check("chunk_size", chunk_size)
    m, n = matrix.shape
    if np.iscomplexobj(matrix) or np.iscomplexobj(y) or y.ndim != 1:
        raise ValueError("A and y must be real, and y a single vector, to count local minima")
    if m < 2:
        raise ValueError("A must have at least two rows: with one, the minima are a flat set")
    if m > n:
        return []
    if math.comb(n, m) > _MAX_SUBSETS:
        raise ValueError(f"A has {math.comb(n, m)} subsets of {m} columns; at most {_MAX_SUBSETS} are enumerated")
    minima: list[tuple[int, ...]] = []
    for subsets in _chunks(n, m, chunk_size):
        minima.extend(tuple(int(i) for i in S) for S in subsets[_are_minima(matrix, y, subsets)])
    return minima


def _are_minima(A: InexactArray, y: InexactArray, subsets: IndexArray) -> BoolArray:
    blocks = A[:, subsets].transpose(1, 0, 2)
    values = np.linalg.svd(blocks, compute_uv=False)
    regular = values[:, -1] > 1e-12 * values[:, 0]
    result = np.zeros(subsets.shape[0], dtype=bool)
    if not regular.any():
        return result
    system = np.broadcast_to(np.column_stack([A, y]), (int(regular.sum()), A.shape[0], A.shape[1] + 1))
    solved = np.linalg.solve(blocks[regular], system)
    x = solved[:, :, -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        w = solved[:, :, :-1] / x
        curved = np.sum(w * w, axis=1) > np.sum(w, axis=1) ** 2
    # Columns of the support itself have one entry of w: equality.
    np.put_along_axis(curved, subsets[regular], True, axis=1)
    result[regular] = curved.all(axis=1) & (x != 0).all(axis=(1, 2))
    return result


def kron_local_minima(
    dictionaries: Sequence[ArrayLike], factors: Sequence[ArrayLike]
) -> list[tuple[tuple[int, ...], ...]]:
    r"""Return the supports of all strict local minima for separable variances and separable noiseless measurements.

    For :math:`y = y_1 \otimes \cdots \otimes y_d` the modes decouple once the scale is profiled out: a local minimum
    combines one of each mode.

    Parameters
    ----------
    dictionaries : sequence of array-like, of shapes (M_i, N_i)
        Real mode dictionaries of at least two rows.
    factors : sequence of array-like of shape (M_i,)
        Real factors of the measurements, one per mode.

    Returns
    -------
    list of tuple of tuple of int
        One support per mode.

    Raises
    ------
    ValueError
        As :func:`sbl_local_minima`, or if the numbers of dictionaries and measurements differ.

    Notes
    -----
    Each of them is also one of the problem without structure, which in general has many more. Ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import kron_local_minima, sbl_local_minima
    >>> rng = np.random.default_rng(0)
    >>> dictionaries, ys = [rng.standard_normal((2, 4)) for _ in range(2)], [rng.standard_normal(2) for _ in range(2)]
    >>> structured = kron_local_minima(dictionaries, ys)
    >>> len(structured) <= len(sbl_local_minima(np.kron(*dictionaries), np.kron(*ys)))
    True
    """
    given: list[Any] = list(factors)
    if len(list(dictionaries)) != len(given) or not given:
        raise ValueError(
            f"dictionaries and factors must have one entry per mode; got {len(list(dictionaries))} and {len(given)}"
        )
    return list(product(*(sbl_local_minima(A, y) for A, y in zip(dictionaries, given, strict=True))))
