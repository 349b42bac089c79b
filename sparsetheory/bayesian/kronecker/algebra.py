"""Products with Kronecker matrices that are never formed."""

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.bayesian.kronecker.checks import as_tensor, check_dictionaries
from sparsetheory.constraints import FLAG, Integer
from sparsetheory.typing import Float64Array, InexactArray, Int64Array

__all__ = [
    "contract",
    "kron_matvec",
    "mode_product",
    "mode_products",
    "mode_starts",
    "outer_product",
    "squared_modulus",
]


def mode_product(tensor: ArrayLike, A: ArrayLike, mode: int) -> NDArray:
    r"""Multiply one mode of a tensor by a matrix.

    Parameters
    ----------
    tensor : array-like of shape (N_1, ..., N_d)
        Tensor T.
    A : array-like of shape (M, N_mode)
        Matrix.
    mode : int
        The axis that A acts on, counted from 0; negative values count from the end.

    Returns
    -------
    ndarray
        With axis `mode` of length M: :math:`\sum_j A_{ij} T_{\ldots j \ldots}`.

    Raises
    ------
    ValueError
        If there is no such mode, or the columns of A are not as many as the mode is long.

    Notes
    -----
    One matrix product of ``M * tensor.size`` operations; no axis is moved.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import mode_product
    >>> mode_product(np.ones((2, 3, 4)), np.ones((5, 3)), 1).shape
    (2, 5, 4)
    """
    T, A = np.asarray(tensor), np.asarray(A)
    mode = Integer(-T.ndim, T.ndim - 1).check("mode", mode) % T.ndim
    if A.ndim != 2 or A.shape[1] != T.shape[mode]:
        raise ValueError(f"A must have shape (M, {T.shape[mode]}) for mode {mode} of {T.shape}; got {A.shape}")
    return _multiply(np.ascontiguousarray(T), A, mode)


def _multiply(T: InexactArray, A: InexactArray, mode: int) -> InexactArray:
    """Multiply one mode of a C-ordered tensor."""
    before, n, after = math.prod(T.shape[:mode]), T.shape[mode], math.prod(T.shape[mode + 1 :])
    shape = (*T.shape[:mode], A.shape[0], *T.shape[mode + 1 :])
    if after == 1:
        return (T.reshape(before, n) @ A.T).reshape(shape)
    if before == 1:
        return (A @ T.reshape(n, after)).reshape(shape)
    return np.matmul(A, T.reshape(before, n, after)).reshape(shape)


def mode_products(T: InexactArray, matrices: Sequence[InexactArray]) -> InexactArray:
    """Multiply the first modes of a C-ordered tensor by one matrix each.

    Modes that shrink come first, so that tensors in between stay small. Further modes (snapshots) are left alone.

    Parameters
    ----------
    T : ndarray of shape (N_1, ..., N_d, ...)
        Tensor.
    matrices : sequence of ndarray, of shapes (M_i, N_i)
        One per mode.

    Returns
    -------
    ndarray of shape (M_1, ..., M_d, ...)
    """
    order = sorted(range(len(matrices)), key=lambda k: matrices[k].shape[0] / matrices[k].shape[1])
    for k in order:
        T = _multiply(T, matrices[k], k)
    return T


def kron_matvec(dictionaries: Sequence[ArrayLike], x: ArrayLike, *, adjoint: bool = False) -> NDArray:
    """Multiply a vector by the Kronecker product of matrices, or by its adjoint.

    Parameters
    ----------
    dictionaries : sequence of array-like, of shapes (M_i, N_i)
        Factors; the matrix is ``kron(dictionaries[0], kron(dictionaries[1], ...))`` of shape (M, N).
    x : array-like of shape (N,), (N, n_columns) or (N_1, ..., N_d)
        What to multiply; the last mode varies fastest. With `adjoint`, M in place of N.
    adjoint : bool
        Multiply by the conjugate transpose.

    Returns
    -------
    ndarray of shape (M,), (M, n_columns) or (M_1, ..., M_d)
        In the layout of x. Single precision in, single precision out.

    Raises
    ------
    ValueError
        If a factor is not a finite matrix, or the length of x does not fit.

    Notes
    -----
    One mode product per factor: for two factors O(M_1 N_1 N_2 + M_1 M_2 N_2), never O(MN).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import kron_matvec
    >>> rng = np.random.default_rng(0)
    >>> A, B, x = rng.standard_normal((2, 3)), rng.standard_normal((4, 5)), rng.standard_normal(15)
    >>> np.allclose(kron_matvec([A, B], x), np.kron(A, B) @ x)
    True
    """
    FLAG.check("adjoint", adjoint)
    modes = check_dictionaries(dictionaries)
    matrices = [A.conj().T if adjoint else A for A in modes.matrices]
    tensor = as_tensor(x, [A.shape[1] for A in matrices], "x", adjoint=adjoint)
    product = mode_products(tensor.values, matrices)
    result = tensor.restore(product, [A.shape[0] for A in matrices])
    return modes.with_precision(result, tensor.single)


def outer_product(vectors: Sequence[Float64Array]) -> Float64Array:
    """Return the tensor of all products of one entry of each vector.

    Parameters
    ----------
    vectors : sequence of ndarray of shape (N_i,)
        At least one.

    Returns
    -------
    ndarray of shape (N_1, ..., N_d)
    """
    result = vectors[0]
    for vector in vectors[1:]:
        result = result[..., None] * vector
    return result


def contract(T: Float64Array, weights: Sequence[Float64Array], k: int) -> Float64Array:
    """Sum a C-ordered tensor over all modes but one, weighted by a vector along each.

    Parameters
    ----------
    T : ndarray of shape (N_1, ..., N_d)
        Tensor.
    weights : sequence of ndarray of shape (N_i,)
        At least one per mode; that of mode k is not used.
    k : int
        The mode that remains.

    Returns
    -------
    ndarray of shape (N_k,)
    """
    for j in range(T.ndim - 1, k, -1):
        T = T @ weights[j]
    for j in range(k):
        T = (weights[j] @ T.reshape(T.shape[0], -1)).reshape(T.shape[1:])
    return T


def mode_starts(sizes: Sequence[int]) -> Int64Array:
    """Return where each mode starts in a vector that holds one vector per mode, and its length.

    Parameters
    ----------
    sizes : sequence of int
        Lengths of the modes.

    Returns
    -------
    ndarray of shape (d + 1,)
    """
    return np.array([0, *accumulate(sizes)], dtype=np.int64)


def squared_modulus(values: InexactArray) -> Float64Array:
    """Return squared absolute values without the square root that ``abs`` takes.

    Parameters
    ----------
    values : ndarray
        Real or complex.

    Returns
    -------
    ndarray of float64
    """
    if np.iscomplexobj(values):
        return values.real * values.real + values.imag * values.imag
    return np.asarray(values * values, dtype=np.float64)
