"""Posterior of a Gaussian vector with separable variances, seen through a Kronecker matrix that is never formed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import svd

from sparsetheory.bayesian.kronecker.algebra import mode_products, mode_starts, outer_product, squared_modulus
from sparsetheory.bayesian.sbl.posterior.moments import PosteriorMoments
from sparsetheory.constraints import COUNT, generator
from sparsetheory.numba_kernels.kronecker import weigh_spectrum
from sparsetheory.typing import BoolArray, Float64Array, IndexArray, InexactArray

__all__ = ["KronMeasurements", "KronPosterior", "posterior_of"]


@dataclass(frozen=True, eq=False)
class KronPosterior(PosteriorMoments):
    r"""Everything that one expectation step yields.

    The model is :math:`y = Ax + n` with :math:`A = A_1 \otimes \cdots \otimes A_d`, :math:`x_n \sim N(0, G_n)`,
    :math:`G = \gamma_1 \otimes \cdots \otimes \gamma_d` and noise of variance `noise_variance`; complex Gaussian where
    the data are complex. With :math:`C = \sigma^2 I + A\,\mathrm{diag}(G)A^H`:

    Attributes
    ----------
    variances : list of ndarray of shape (N_i,)
        Factors of the prior variances.
    noise_variance : float
        Variance of the noise; of both parts together for complex data.
    S : ndarray of shape (N_1, ..., N_d) or (N_1, ..., N_d, n_snapshots)
        :math:`A^H C^{-1} y`.
    q : ndarray of shape (N_1, ..., N_d)
        Diagonal of :math:`A^H C^{-1} A`.
    cost : float
        :math:`\log\det C + y^H C^{-1} y`, the second term averaged over snapshots.
    noise_em, noise_mm : float
        The next noise variance, by expectation-maximisation or by the square-root rule that goes with the
        majorisation of :func:`mm_update`. Neither raises the cost together with the update that it belongs to.
    """

    variances: list[Float64Array]
    noise_variance: float
    S: InexactArray
    q: Float64Array
    cost: float
    noise_em: float
    noise_mm: float
    _matrices: list[InexactArray]
    _bases: list[InexactArray]
    _weights: Float64Array

    @cached_property
    def prior(self) -> Float64Array:
        """Prior variances G, shape (N_1, ..., N_d)."""
        return outer_product(self.variances)

    @property
    def n_rows(self) -> int:
        """Number of measurements per snapshot."""
        return self._weights.size

    @property
    def condition(self) -> float:
        """Condition number of C, at most."""
        return 1.0 / (self.noise_variance * float(self._weights.min()))

    def exact_var(self) -> Float64Array:
        """Return posterior variances without a difference, accurate however small the noise is.

        Returns
        -------
        ndarray of shape (N_1, ..., N_d)

        Notes
        -----
        With right singular vectors V_i of the dictionaries times the roots of the factors, the posterior precision
        relative to the prior is diagonal in their Kronecker product: sums of positive terms. O(N times the sum of N_i),
        more than :attr:`var`, whose error is that of rounding the prior variances.
        """
        # In the basis of right singular vectors the posterior variances relative to the prior are noise over noise plus
        # the squared singular values; the diagonal in the basis of coefficients weighs them with squared moduli.
        squares, bases = [], []
        for A, gamma in zip(self._matrices, self.variances, strict=True):
            values, Vh = svd(A * np.sqrt(gamma), full_matrices=True)[1:]
            squares.append(np.pad(values, (0, gamma.size - values.size)) ** 2)
            bases.append(squared_modulus(Vh.T))
        shares = self.noise_variance / (self.noise_variance + outer_product(squares))
        return self.prior * mode_products(shares, bases).real

    def signal_variances(self, matrices: Sequence[InexactArray]) -> Float64Array:
        """Return posterior variances of other Kronecker measurements of x, without noise.

        Parameters
        ----------
        matrices : sequence of ndarray of shape (m_i, N_i)
            Their dictionaries.

        Returns
        -------
        ndarray of shape (m_1, ..., m_d)
        """
        before = outer_product([squared_modulus(B) @ g for B, g in zip(matrices, self.variances, strict=True)])
        seen = [
            squared_modulus((B * g) @ (A.conj().T @ U))
            for B, g, A, U in zip(matrices, self.variances, self._matrices, self._bases, strict=True)
        ]
        return np.maximum(before - mode_products(self._weights, seen), 0.0)

    def sample(self, n_draws: int = 1, *, random_state: Any = None) -> InexactArray:
        """Draw from the posterior exactly.

        Parameters
        ----------
        n_draws : int
            Number of draws.
        random_state : int, RandomState, Generator or None
            Source of randomness.

        Returns
        -------
        ndarray of shape (n_draws, N_1, ..., N_d) or (n_draws, N_1, ..., N_d, n_snapshots)

        Notes
        -----
        A draw from the prior and from the noise, corrected by the posterior mean of what it leaves of the data. Two
        products with A per draw, and no factor of a covariance (Papandreou and Yuille 2010).
        """
        n_draws, source = COUNT.check("n_draws", n_draws), generator(random_state)
        mean = self.mean
        return np.stack([mean + self._deviation(source) for _ in range(n_draws)])

    def _deviation(self, rng: np.random.Generator) -> InexactArray:
        # With x from the prior and y' = A x + n, the error x - E[x | y'] has the posterior covariance, whatever y' is:
        # added to the posterior mean it is a draw from the posterior.
        prior = self._prior_of_snapshots()
        x = np.sqrt(prior) * _standard(rng, self.S)
        rows = (*self._weights.shape, *self.S.shape[self.q.ndim :])
        noise = math.sqrt(self.noise_variance) * _standard(rng, np.empty(rows, dtype=self.S.dtype))
        seen = mode_products(x, self._matrices) + noise
        return x - prior * self._backward(seen)

    def _backward(self, Y: InexactArray) -> InexactArray:
        """Return :math:`A^H C^{-1} y`."""
        weights = self._weights[..., None] if Y.ndim > self._weights.ndim else self._weights
        rotated = mode_products(Y, [U.conj().T for U in self._bases]) * weights
        return mode_products(rotated, [A.conj().T @ U for A, U in zip(self._matrices, self._bases, strict=True)])


def _standard(rng: np.random.Generator, like: InexactArray) -> InexactArray:
    """Draw standard normal values, complex ones with total variance one."""
    if np.iscomplexobj(like):
        return (rng.standard_normal(like.shape) + 1j * rng.standard_normal(like.shape)) * math.sqrt(0.5)
    return rng.standard_normal(like.shape)


class KronMeasurements:
    """Measurements through the columns in use, as the loop of updates sees them.

    Parameters
    ----------
    matrices : sequence of ndarray of shape (M_i, N_i)
        Dictionaries of the dtype of Y.
    Y : ndarray of shape (M_1, ..., M_d) or (M_1, ..., M_d, n_snapshots)
        Measurements.
    columns : sequence of ndarray of int
        Columns in use.
    """

    def __init__(self, matrices: Sequence[InexactArray], Y: InexactArray, columns: Sequence[IndexArray]) -> None:
        self.Y = Y
        self.matrices = [np.ascontiguousarray(A[:, used]) for A, used in zip(matrices, columns, strict=True)]

    @property
    def n_snapshots(self) -> int:
        """Number of vectors that share variances."""
        return int(self.Y.shape[-1]) if self.Y.ndim > len(self.matrices) else 1

    @property
    def is_complex(self) -> bool:
        """Whether the data are complex."""
        return np.iscomplexobj(self.Y)

    def restrict(self, masks: Sequence[BoolArray]) -> None:
        """Drop columns."""
        self.matrices = [np.ascontiguousarray(A[:, mask]) for A, mask in zip(self.matrices, masks, strict=True)]

    def posterior(self, variances: Sequence[Float64Array], noise_variance: float) -> KronPosterior:
        """Do one expectation step."""
        return posterior_of(self.matrices, self.Y, variances, noise_variance)


def posterior_of(
    matrices: Sequence[InexactArray], Y: InexactArray, variances: Sequence[Float64Array], noise_variance: float
) -> KronPosterior:
    r"""Do one expectation step on checked arrays.

    Parameters
    ----------
    matrices : sequence of ndarray of shape (M_i, N_i)
        Dictionaries of one dtype.
    Y : ndarray of shape (M_1, ..., M_d) or (M_1, ..., M_d, n_snapshots)
        Measurements of that dtype, C-ordered.
    variances : sequence of ndarray of shape (N_i,)
        Factors of the prior variances.
    noise_variance : float
        Positive.

    Returns
    -------
    KronPosterior

    Notes
    -----
    With eigenvectors U_i and eigenvalues p_i of :math:`A_i\,\mathrm{diag}(\gamma_i)A_i^H`, the matrix C is
    :math:`U\,\mathrm{diag}(\sigma^2 + p_1 \otimes \cdots \otimes p_d)\,U^H` with U the Kronecker product of the
    U_i. The small matrices are made exactly Hermitian first: eigenvectors of a matrix that is Hermitian only up to
    rounding are not orthogonal where eigenvalues coincide.
    """
    # Step 1. One eigenvalue problem per mode, O(M_k^3 + N_k M_k^2): the covariance of the signal is the Kronecker
    # product of A_k diag(g_k) A_k^H, so its eigenvectors are Kronecker products too, and its eigenvalues all products
    # of one eigenvalue per mode. The noise shifts them all.
    values, bases = [], []
    for A, gamma in zip(matrices, variances, strict=True):
        B = (A * gamma) @ A.conj().T
        p, U = np.linalg.eigh(0.5 * (B + B.conj().T))
        values.append(np.maximum(p, 0.0))
        bases.append(U)
    # Step 2. Measurements in the eigenvectors, by one mode product per mode, and everything that is diagonal there: the
    # kernel divides them by the eigenvalues in place, and sums log determinant, data term and what the noise needs.
    backward = [A.conj().T @ U for A, U in zip(matrices, bases, strict=True)]
    rows = tuple(p.size for p in values)
    D, sums = np.empty(rows), np.empty(5)
    rotated = np.ascontiguousarray(mode_products(Y, [U.conj().T for U in bases]))
    share = 1.0 / Y.shape[-1] if Y.ndim > D.ndim else 1.0
    parts = rotated.reshape(D.size, -1).view(np.float64)
    weigh_spectrum(np.concatenate(values), mode_starts(rows), noise_variance, parts, share, D.reshape(-1), sums)
    # Step 3. Back to the coefficients: S = A^H C^-1 y by mode products with A_k^H U_k, and the diagonal of A^H C^-1 A
    # by mode products of the inverse eigenvalues with the squared moduli of the same matrices.
    log_det, fitted, inverse_square, freedom, trace = sums.tolist()
    return KronPosterior(
        variances=list(variances),
        noise_variance=noise_variance,
        S=mode_products(rotated, backward),
        q=mode_products(D, [squared_modulus(W) for W in backward]).real,
        cost=log_det + fitted,
        noise_em=(noise_variance * noise_variance * inverse_square + noise_variance * freedom) / D.size,
        noise_mm=noise_variance * math.sqrt(inverse_square / trace),
        _matrices=list(matrices),
        _bases=bases,
        _weights=D,
    )
