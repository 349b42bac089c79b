"""Posterior with one variance per coefficient, without forming a Kronecker dictionary."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, get_lapack_funcs, solve_triangular

from sparsetheory.bayesian.kronecker.algebra import mode_products, squared_modulus
from sparsetheory.bayesian.sbl.posterior.moments import PosteriorMoments
from sparsetheory.typing import BoolArray, Float64Array, IndexArray, InexactArray

__all__ = ["DenseMeasurements", "DensePosterior", "kron_covariance", "kron_quadratics", "pair_tables"]


@dataclass(frozen=True, eq=False)
class DensePosterior(PosteriorMoments):
    """One expectation step without structure; attributes as in :class:`KronPosterior`, on the columns in use."""

    variances: list[Float64Array]
    noise_variance: float
    n_rows: int
    S: InexactArray
    q: Float64Array
    cost: float
    noise_em: float
    noise_mm: float
    condition: float

    @property
    def prior(self) -> Float64Array:
        """Prior variances, shape (n_kept,)."""
        return self.variances[0]


def pair_tables(matrices: Sequence[InexactArray]) -> list[InexactArray]:
    """Return, for each mode, all products of one entry of a column and the conjugate of another.

    Parameters
    ----------
    matrices : sequence of ndarray of shape (M_i, N_i)
        Dictionaries.

    Returns
    -------
    list of ndarray of shape (M_i**2, N_i)
    """
    return [(A[:, None, :] * A.conj()[None, :, :]).reshape(-1, A.shape[1]) for A in matrices]


def _rows(tables: Sequence[InexactArray]) -> list[int]:
    return [math.isqrt(table.shape[0]) for table in tables]


def _interleaving(n_modes: int) -> list[int]:
    return [*range(0, 2 * n_modes, 2), *range(1, 2 * n_modes, 2)]


def kron_covariance(tables: Sequence[InexactArray], variances: Float64Array) -> InexactArray:
    r"""Return :math:`A\,\mathrm{diag}(G)A^H` for a Kronecker matrix A and any variances.

    Parameters
    ----------
    tables : sequence of ndarray of shape (M_i**2, N_i)
        Of :func:`pair_tables`.
    variances : ndarray of shape (N_1, ..., N_d)
        G.

    Returns
    -------
    ndarray of shape (M, M)

    Notes
    -----
    Entry (m, m') is the sum over n of G_n times one product of two entries per mode: a contraction of G with one table
    per mode. Far fewer operations than the M^2 N of the dense product.
    """
    tensor, rows = mode_products(variances, tables), _rows(tables)
    split = tensor.reshape([m for m in rows for _ in range(2)])
    return split.transpose(_interleaving(len(rows))).reshape(math.prod(rows), -1)


def kron_quadratics(tables: Sequence[InexactArray], K: InexactArray) -> Float64Array:
    r"""Return the diagonal of :math:`A^H K A` for a Kronecker matrix A and a Hermitian K.

    Parameters
    ----------
    tables : sequence of ndarray of shape (M_i**2, N_i)
        Of :func:`pair_tables`.
    K : ndarray of shape (M, M)
        Hermitian.

    Returns
    -------
    ndarray of shape (N_1, ..., N_d)
    """
    rows = _rows(tables)
    split = K.reshape(rows + rows).transpose(np.argsort(_interleaving(len(rows))))
    tensor = np.ascontiguousarray(split).reshape([m * m for m in rows])
    return np.ascontiguousarray(mode_products(tensor, [table.conj().T for table in tables]).real)


def _inverse(lower: InexactArray) -> InexactArray:
    """Return the Hermitian inverse that a Cholesky factor belongs to."""
    (potri,) = get_lapack_funcs(("potri",), (lower,))
    # Above the diagonal the factor is zero, and LAPACK leaves that as it is.
    half = potri(lower, lower=True)[0]
    inverse = half + half.conj().T
    inverse[np.diag_indices(lower.shape[0])] = np.diagonal(half).real
    return np.asarray(inverse)


class DenseMeasurements:
    """Measurements through the columns in use of one dictionary, or of a Kronecker product.

    Parameters
    ----------
    matrices : sequence of ndarray of shape (M_i, N_i)
        Dictionaries of the dtype of Y; a single one is used as it is.
    Y : ndarray of shape (M,) or (M, n_snapshots)
        Measurements.
    columns : ndarray of int
        Columns in use of the (Kronecker) dictionary.

    Notes
    -----
    A single dictionary with more rows than columns is replaced by its triangular factor; what is left of the data
    only informs the noise variance.
    """

    def __init__(self, matrices: Sequence[InexactArray], Y: InexactArray, columns: IndexArray) -> None:
        self.columns = columns
        self.n_rows = Y.shape[0]
        # Rows that carry nothing but noise, and the energy of the data in them.
        self.n_free, self.free_energy = 0, 0.0
        self.dense = len(matrices) == 1
        if self.dense:
            A = matrices[0][:, columns]
            if A.shape[0] > A.shape[1]:
                Q, A = np.linalg.qr(A)
                reduced = Q.conj().T @ Y
                outside = squared_modulus(Y - Q @ reduced)
                self.free_energy = float(outside.sum() if Y.ndim == 1 else outside.sum(axis=0).mean())
                self.n_free, Y = self.n_rows - A.shape[0], reduced
            self.matrices = [A]
        else:
            self.matrices, self.tables = list(matrices), pair_tables(matrices)
        self.Y = Y

    @property
    def n_snapshots(self) -> int:
        """Number of vectors that share variances."""
        return int(self.Y.shape[-1]) if self.Y.ndim > 1 else 1

    @property
    def is_complex(self) -> bool:
        """Whether the data are complex."""
        return np.iscomplexobj(self.Y)

    def restrict(self, masks: Sequence[BoolArray]) -> None:
        """Drop columns."""
        self.columns = self.columns[masks[0]]
        if self.dense:
            self.matrices = [np.ascontiguousarray(self.matrices[0][:, masks[0]])]

    def _covariance(self, given: Float64Array) -> InexactArray:
        if self.dense:
            A = self.matrices[0]
            return (A * given) @ A.conj().T
        sizes = [A.shape[1] for A in self.matrices]
        variances = np.zeros(math.prod(sizes))
        variances[self.columns] = given
        return kron_covariance(self.tables, variances.reshape(sizes))

    def _project(
        self, lower: InexactArray, u: InexactArray, inverse: InexactArray
    ) -> tuple[InexactArray, Float64Array]:
        """Return S and q."""
        if self.dense:
            A = self.matrices[0]
            return A.conj().T @ u, squared_modulus(solve_triangular(lower, A, lower=True)).sum(axis=0)
        rows = [A.shape[0] for A in self.matrices]
        S = mode_products(u.reshape(*rows, *u.shape[1:]), [A.conj().T for A in self.matrices])
        q = kron_quadratics(self.tables, inverse)
        return S.reshape(q.size, *u.shape[1:])[self.columns], q.reshape(-1)[self.columns]

    def posterior(self, variances: Sequence[Float64Array], noise_variance: float) -> DensePosterior:
        """Do one expectation step.

        Parameters
        ----------
        variances : sequence of one ndarray of shape (n_kept,)
            Prior variances.
        noise_variance : float
            Positive.

        Returns
        -------
        DensePosterior

        Notes
        -----
        O(M^3), and O(M^2 N) for a single dictionary.
        """
        C = self._covariance(variances[0])
        m = C.shape[0]
        condition = 1.0 + float(np.trace(C).real) / noise_variance
        C[np.diag_indices(m)] += noise_variance
        lower = cholesky(C, lower=True)
        u = cho_solve((lower, True), self.Y)
        inverse = _inverse(lower)
        S, q = self._project(lower, u, inverse)
        per_snapshot = 1.0 if u.ndim == 1 else 1.0 / u.shape[1]
        fitted = float(np.vdot(self.Y, u).real) * per_snapshot + self.free_energy / noise_variance
        log_det = 2.0 * float(np.log(np.diagonal(lower).real).sum()) + self.n_free * math.log(noise_variance)
        trace = float(np.trace(inverse).real)
        squares = float(squared_modulus(u).sum()) * per_snapshot
        residual = noise_variance**2 * squares + self.free_energy
        slope = trace + self.n_free / noise_variance
        return DensePosterior(
            variances=list(variances),
            noise_variance=noise_variance,
            n_rows=self.n_rows,
            S=S,
            q=q,
            cost=log_det + fitted,
            noise_em=(residual + noise_variance * (m - noise_variance * trace)) / self.n_rows,
            noise_mm=math.sqrt(residual / slope),
            condition=condition,
        )
