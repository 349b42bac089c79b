"""Orthogonal matching pursuit of single coefficients on a Kronecker matrix that is not formed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from sparsetheory.bayesian.kronecker.algebra import mode_products
from sparsetheory.bayesian.kronecker.checks import as_tensor, check_dictionaries
from sparsetheory.bayesian.noise import VARIANCE
from sparsetheory.constraints import COUNT
from sparsetheory.ranges import require_squares
from sparsetheory.typing import AnyArray, IndexArray, InexactArray

__all__ = ["KronOMPResult", "kron_omp_batch"]


@dataclass(frozen=True, eq=False)
class KronOMPResult:
    """Outcome of :func:`kron_omp_batch`.

    Attributes
    ----------
    coef : ndarray of shape (N,)
        Coefficients.
    support : ndarray of int
        Selected columns of the Kronecker matrix, in the order of selection.
    residual_norm : float
        Norm of the residual.
    """

    coef: AnyArray
    support: IndexArray
    residual_norm: float


def kron_omp_batch(
    dictionaries: Sequence[ArrayLike],
    y: ArrayLike,
    *,
    noise_variance: float | None = None,
    n_nonzero: int | None = None,
) -> KronOMPResult:
    """Run orthogonal matching pursuit on a Kronecker matrix that is not formed.

    Parameters
    ----------
    dictionaries : sequence of array-like, of shapes (M_i, N_i)
        Mode dictionaries, real or complex; columns are used as they are.
    y : array-like of shape (M,) or (M_1, ..., M_d)
        Measurements.
    noise_variance : float, optional
        Stop once the norm of the residual is at most ``sqrt(M * noise_variance)``.
    n_nonzero : int, optional
        Largest number of atoms; by default the smaller of M and N.

    Returns
    -------
    KronOMPResult

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite, or a parameter is out of range.

    Notes
    -----
    Correlations with all atoms are ``A^H y`` less the Gram matrix, itself a Kronecker product, times the coefficients:
    O(N sum of N_i) per step. The selected Gram entries are products of one entry per mode, and their Cholesky factor
    grows by a row. Selection also stops at an atom that is selected already or depends on the others.

    Examples
    --------
    >>> from sparsetheory.bayesian import kron_omp_batch, make_kron_sparse
    >>> problem = make_kron_sparse((10, 12), (15, 15), (2, 2), snr_db=40, random_state=0)
    >>> result = kron_omp_batch(problem.dictionaries, problem.y, noise_variance=problem.noise_variance, n_nonzero=20)
    >>> set(problem.x.nonzero()[0]) <= set(result.support)
    True
    """
    modes = check_dictionaries(dictionaries)
    data = as_tensor(y, modes.rows, "y")
    if data.n_columns is not None:
        raise ValueError(f"y must be a single vector; got shape {data.shape}")
    sizes, Y = modes.columns, data.values
    require_squares("y", Y.reshape(-1))
    for k, A in enumerate(modes.matrices):
        require_squares(f"the dictionary of mode {k}", A)
    n_rows, n_columns = Y.size, math.prod(sizes)
    limit = min(n_rows, n_columns)
    limit = limit if n_nonzero is None else min(limit, COUNT.check("n_nonzero", n_nonzero))
    energy = float(np.vdot(Y, Y).real)
    # The residual is a difference of squares, known to this fraction of the energy.
    target = 1e-14 * energy if noise_variance is None else n_rows * VARIANCE.check("noise_variance", noise_variance)
    grams = [A.conj().T @ A for A in modes.matrices]
    correlations = mode_products(Y, [A.conj().T for A in modes.matrices]).reshape(-1)
    atoms, coef, square = _pursue(grams, correlations, energy, target, limit)
    x = np.zeros(n_columns, dtype=correlations.dtype)
    x[atoms] = coef
    return KronOMPResult(modes.with_precision(x, data.single), atoms, math.sqrt(max(square, 0.0)))


def _pursue(
    grams: Sequence[InexactArray], b: InexactArray, energy: float, target: float, limit: int
) -> tuple[IndexArray, InexactArray, float]:
    """Select atoms one by one, and return them with their coefficients and the squared residual."""
    sizes = [G.shape[0] for G in grams]
    lower = np.zeros((limit, limit), dtype=np.result_type(b, *grams))
    atoms: list[int] = []
    x, coef, square = np.zeros(b.size, dtype=lower.dtype), np.zeros(0, dtype=lower.dtype), energy
    while len(atoms) < limit and square > target:
        fitted = mode_products(x.reshape(sizes), grams).reshape(-1)
        index = int(np.argmax(np.abs(b - fitted)))
        if index in atoms or not _grow(lower, grams, atoms, index):
            break
        atoms.append(index)
        k = len(atoms)
        half = solve_triangular(lower[:k, :k], b[atoms], lower=True)
        coef = solve_triangular(lower[:k, :k], half, lower=True, trans="C")
        x[atoms] = coef
        square = energy - float(np.vdot(half, half).real)
    return np.array(atoms, dtype=np.intp), coef, square


def _grow(lower: InexactArray, grams: Sequence[InexactArray], atoms: list[int], index: int) -> bool:
    """Add the row of an atom to the Cholesky factor, unless the atom depends on the selected ones."""
    k, sizes = len(atoms), [G.shape[0] for G in grams]
    new = np.unravel_index(index, sizes)
    old = np.unravel_index(np.array(atoms, dtype=np.intp), sizes)
    row, own = np.ones(k, dtype=lower.dtype), 1.0
    for G, i, j in zip(grams, new, old, strict=True):
        row = row * G[j, i]
        own *= float(G[i, i].real)
    if k:
        row = solve_triangular(lower[:k, :k], row, lower=True).conj()
    left = own - float(np.vdot(row, row).real)
    if left <= 1e-12 * own:
        return False
    lower[k, :k], lower[k, k] = row, math.sqrt(left)
    return True
