r"""The Gaussian factor of the coefficients: :math:`\Sigma = (D + \kappa F^H F)^{-1}`, never formed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cholesky, get_blas_funcs, get_lapack_funcs

from sparsetheory.bayesian.turbo.problem import TurboProblem, row_squares
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["GaussianFactor", "gaussian_factor"]

# Mean, fractions of the prior variances that are left and that are gone, whitener, log determinant without the priors.
_Moments = tuple[AnyArray, Float64Array, Float64Array, AnyArray, float]
# Below this fraction of its prior, a posterior variance has lost half its digits to the subtraction, and is recomputed.
_LOST = 1e-8


@dataclass(frozen=True, eq=False)
class GaussianFactor:
    r"""A Gaussian with precision :math:`D + \kappa F^H F`, the same for all snapshots but for its mean.

    Parameters
    ----------
    mean : ndarray of shape (N, L)
    var : ndarray of shape (N,)
        Diagonal of the covariance.
    log_det : float
        Log determinant of the covariance.
    residual : float
        Squared norm of the data less F times the mean, over all snapshots.
    spread : float
        :math:`\mathrm{tr}\, F \Sigma F^H`.
    precisions : ndarray of shape (N,)
        The diagonal D.
    noise_precision : float
        Noise precision.
    whitener : ndarray of shape (min(M, N), N)
        With N > M the covariance is :math:`D^{-1/2} (I - W^H W) D^{-1/2}`, otherwise
        :math:`D^{-1/2} W^H W D^{-1/2}`.
    wide : bool
        Which of the two.
    """

    mean: AnyArray
    var: Float64Array
    log_det: float
    residual: float
    spread: float
    precisions: Float64Array
    noise_precision: float
    whitener: AnyArray
    wide: bool

    def columns(self, indices: Any) -> AnyArray:
        """Return columns of the covariance, shape (N, len(indices)), O(min(M, N) N) each."""
        indices = np.asarray(indices, dtype=np.intp)
        roots = np.sqrt(self.precisions)
        inner = self.whitener.conj().T @ self.whitener[:, indices]
        if self.wide:
            inner = -inner
            inner[indices, np.arange(indices.size)] += 1.0
        return np.asarray(inner / roots[:, None] / roots[indices])

    def variances_along(self, rows: AnyArray) -> Float64Array:
        """Return the variances of ``rows @ x``, shape (n,)."""
        scaled = rows / np.sqrt(self.precisions)
        explained = row_squares(np.ascontiguousarray(scaled @ self.whitener.conj().T))
        if self.wide:
            return np.maximum(row_squares(np.ascontiguousarray(scaled)) - explained, 0.0)
        return explained


def gaussian_factor(problem: TurboProblem, precisions: Float64Array, noise_precision: float) -> GaussianFactor:
    """Return the factor of the coefficients that is best for given precisions.

    Notes
    -----
    O(M^2 N) for N > M: one rank-M product, one Cholesky factorisation and one triangular solve of the smaller system;
    O(N^3) otherwise. Both systems are the identity plus a positive semi-definite matrix, so that precisions that
    differ by many orders of magnitude do no harm.
    """
    solve = _from_observations if problem.wide else _from_coefficients
    mean, kept, shares, whitener, log_det = solve(problem, precisions, noise_precision)
    residual = float(np.sum(np.abs(problem.Y - problem.F @ mean) ** 2))
    return GaussianFactor(
        mean=mean,
        var=kept / precisions,
        log_det=log_det - float(np.log(precisions).sum()),
        residual=residual,
        spread=float(shares.sum()) / noise_precision,
        precisions=precisions,
        noise_precision=noise_precision,
        whitener=whitener,
        wide=problem.wide,
    )


def _from_observations(problem: TurboProblem, precisions: Float64Array, noise_precision: float) -> _Moments:
    """Use ``I + noise_precision F D^-1 F^H``, of the size of the observations."""
    # With B = sqrt(kappa) F D^-1/2 (M x N) the covariance is D^-1/2 (I + B^H B)^-1 D^-1/2, and by the matrix inversion
    # lemma (I + B^H B)^-1 = I - B^H (I + B B^H)^-1 B = I - W^H W, where W = L^-1 B and L L^H = I + B B^H is M x M.
    weights = 1.0 / np.sqrt(precisions)
    scaled = np.asfortranarray(problem.F * (np.sqrt(noise_precision) * weights))
    # O(M^2 N) for the product, of which one half is computed, and O(M^3) for the factor.
    factor = _identity_plus_product(scaled)
    (trsm,) = get_blas_funcs(("trsm",), (factor, scaled))
    # The mean is D^-1/2 B^H (I + B B^H)^-1 sqrt(kappa) Y: two triangular solves with few right-hand sides.
    residual = trsm(1.0, factor, trsm(1.0, factor, problem.Y, lower=1), lower=1, trans_a=2)
    mean = (np.sqrt(noise_precision) * weights)[:, None] * (scaled.conj().T @ residual)
    # O(M^2 N): columns of W have squared norms between zero and one, the fractions of the prior variances that the
    # data remove. What is left is one less that; where the data leave next to nothing the difference has lost its
    # digits, and is recomputed as a positive quantity.
    whitener = trsm(1.0, factor, scaled, lower=1)
    shares = row_squares(whitener.T)
    kept = 1.0 - shares
    lost = np.flatnonzero(kept < _LOST)
    if lost.size:
        kept[lost] = _kept_of(scaled, lost)
    return mean, kept, shares, whitener, -2.0 * float(np.log(np.diagonal(factor).real).sum())


def _identity_plus_product(scaled: AnyArray) -> AnyArray:
    """Return the lower Cholesky factor of the identity plus ``scaled @ scaled^H``."""
    name = "herk" if np.iscomplexobj(scaled) else "syrk"
    (product,) = get_blas_funcs((name,), (scaled,))
    system = product(1.0, scaled, lower=1)
    _diagonal(system)[...] += 1.0
    return np.asarray(cholesky(system, lower=True, overwrite_a=True, check_finite=False))


def _diagonal(matrix: AnyArray) -> AnyArray:
    """Return the diagonal as a view that can be written to; index arrays would take as long as a small product."""
    return np.asarray(np.einsum("ii->i", matrix))


def _kept_of(scaled: AnyArray, lost: IndexArray) -> Float64Array:
    """Return the fractions of the prior variances that the data leave to a few coefficients, without subtraction.

    The other coefficients are eliminated: together with the noise they whiten the few columns, and what is left is the
    inverse of the identity plus a Gram matrix.
    """
    others = np.delete(scaled, lost, axis=1)
    factor = _identity_plus_product(np.asfortranarray(others))
    (trsm,) = get_blas_funcs(("trsm",), (factor, scaled))
    whitened = trsm(1.0, factor, np.asfortranarray(scaled[:, lost]), lower=1)
    return row_squares(_inverse_factor(whitened.conj().T @ whitened).T)


def _inverse_factor(gram: AnyArray) -> AnyArray:
    """Return the inverse of the lower Cholesky factor of the identity plus a Gram matrix, in Fortran order."""
    system = np.array(gram, order="F")
    _diagonal(system)[...] += 1.0
    factor = cholesky(system, lower=True, overwrite_a=True, check_finite=False)
    (invert,) = get_lapack_funcs(("trtri",), (factor,))
    inverse, _ = invert(factor, lower=1, overwrite_c=1)
    return np.asarray(inverse)


def _from_coefficients(problem: TurboProblem, precisions: Float64Array, noise_precision: float) -> _Moments:
    """Use ``I + noise_precision D^-1/2 F^H F D^-1/2``, of the size of the coefficients."""
    # With L L^H = I + B^H B (N x N) and W = L^-1 the covariance is D^-1/2 W^H W D^-1/2: squared norms of the columns of
    # W are the fractions of the prior variances that are left, sums of positive terms.
    weights = 1.0 / np.sqrt(precisions)
    whitener = _inverse_factor(noise_precision * weights[:, None] * problem.gram * weights)
    mean = weights[:, None] * (
        whitener.conj().T @ (whitener @ (noise_precision * weights[:, None] * problem.correlations))
    )
    kept = row_squares(whitener.T)
    log_det = 2.0 * float(np.log(np.diagonal(whitener).real).sum())
    return mean, kept, 1.0 - kept, whitener, log_det
