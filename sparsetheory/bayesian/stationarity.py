"""Evidence that learned variances are a stationary point, recomputed from raw data."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import svd

from sparsetheory.bayesian.kron_algebra import contract, mode_products, outer_product, squared_modulus
from sparsetheory.bayesian.kron_arguments import as_tensor, check_dictionaries
from sparsetheory.bayesian.structured_posterior import KronPosterior
from sparsetheory.certificates import Certificate, Status

__all__ = ["CERTIFICATE_ROUNDING", "StationarityCertificate"]

_Real = NDArray[np.float64]
_Coupling = list[_Real | None] | None
# Derivatives are differences of sums that are at most the number of measurements, in double precision.
CERTIFICATE_ROUNDING = 1e-9


@dataclass(frozen=True)
class StationarityCertificate(Certificate):
    """The largest derivative of the cost by the logarithm of a kept variance, per measurement.

    With learned noise its variance counts too. Variances that were pruned are held at zero.

    Attributes
    ----------
    gammas : list of ndarray of shape (N_i,)
        Factors of the prior variances on all columns; zero where pruned.
    noise_variance : float
    noise_learned : bool
    couplings : list of (None or ndarray of shape (N_k, n_latents)), optional
        Where factors are ``couplings[k] @ latents[k]``, what they are made of: derivatives are then by the logarithms
        of the latents.
    latents : list of ndarray, optional
    converged : bool
        Whether the solver stopped because nothing moved.
    """

    gammas: list[_Real] = field(kw_only=True, repr=False)
    noise_variance: float = field(kw_only=True)
    noise_learned: bool = field(kw_only=True)
    converged: bool = field(kw_only=True)
    couplings: _Coupling = field(kw_only=True, default=None, repr=False)
    latents: list[_Real] | None = field(kw_only=True, default=None, repr=False)

    @classmethod
    def of(cls, posterior: KronPosterior, gammas: list[_Real], **details: Any) -> "StationarityCertificate":
        """Certify the posterior that a solver ended with.

        Parameters
        ----------
        posterior : KronPosterior
            On the kept entries.
        gammas : list of ndarray of shape (N_i,)
            Factors on all columns.
        **details
            The other attributes.

        Returns
        -------
        StationarityCertificate
        """
        draft = cls(
            "no derivative of the cost by the logarithm of a kept variance exceeds this, per measurement",
            0.0,
            None,
            Status.INVALID,
            gammas=gammas,
            noise_variance=posterior.noise_variance,
            **details,
        )
        gradients = []
        for k, gamma in enumerate(gammas):
            gradient = np.zeros(gamma.size)
            gradient[gamma > 0] = posterior.grad_log(k)
            gradients.append(gradient)
        residual = draft._largest(gradients, posterior.grad_log_noise) / posterior.n_rows
        return replace(draft, bound=residual, measured=residual, status=Status.VALID)

    @classmethod
    def of_zero(cls, gammas: list[_Real], noise_variance: float, noise_learned: bool) -> "StationarityCertificate":
        """Certify that no variance is left: then nothing but the noise variance could move, and it is the best one."""
        return cls(
            "no prior variance is left", 0.0, 0.0, Status.VALID, gammas=gammas, noise_variance=noise_variance,
            noise_learned=noise_learned, converged=True,
        )  # fmt: skip

    def check(self, As: Sequence[ArrayLike], y: ArrayLike) -> "StationarityCertificate":
        """Recompute the derivatives from singular values, on the side of the measurements.

        Parameters
        ----------
        As, y
            What the solver was fitted on.

        Returns
        -------
        StationarityCertificate
            With a fresh `measured` and `valid`.

        Notes
        -----
        Sums over the other modes become sums over singular values, so that no tensor of N entries occurs: O(M N_k) per
        mode k.
        """
        dictionaries = check_dictionaries(As)
        data = as_tensor(y, dictionaries.rows, "y")
        if self.noise_variance == 0.0:
            return replace(self, measured=0.0, status=Status.of(not data.values.any()))
        frames = []
        for A, gamma in zip(dictionaries.matrices, self.gammas, strict=True):
            U, s, _ = svd(A * np.sqrt(gamma), full_matrices=True)
            frames.append((U, np.pad(s, (0, U.shape[0] - s.size)) ** 2, A.conj().T @ U))
        values = [p for _, p, _ in frames]
        D = 1.0 / (self.noise_variance + outer_product(values))
        many = data.values.ndim > D.ndim
        Z = mode_products(data.values, [U.conj().T for U, _, _ in frames]) * (D[..., None] if many else D)
        gradients = [
            gamma * (squared_modulus(W) @ contract(D, values, k) - _explained(Z, W, values, k, many))
            for k, (gamma, (_, _, W)) in enumerate(zip(self.gammas, frames, strict=True))
        ]
        squares = squared_modulus(Z)
        energy = float((squares.mean(axis=-1) if many else squares).sum())
        noise = self.noise_variance * (float(D.sum()) - energy)
        measured = self._largest(gradients, noise) / D.size
        valid = measured <= self.bound * (1.0 + 1e-6) + CERTIFICATE_ROUNDING
        return replace(self, measured=measured, status=Status.of(valid))

    def _largest(self, gradients: list[_Real], noise: float) -> float:
        """Return the largest derivative by what was free."""
        if self.couplings is not None and self.latents is not None:
            gradients = [
                gradient if C is None else z * (C.T @ np.divide(gradient, g, out=np.zeros_like(g), where=g > 0))
                for gradient, g, C, z in zip(gradients, self.gammas, self.couplings, self.latents, strict=True)
            ]
        largest = max(float(np.abs(gradient).max(initial=0.0)) for gradient in gradients)
        return max(largest, abs(noise)) if self.noise_learned else largest


def _explained(Z: NDArray[Any], W: NDArray[Any], values: list[_Real], k: int, many: bool) -> _Real:
    """Return the sums of ``G * abs(S)**2 / gamma_k`` over all modes but k."""
    squares = squared_modulus(np.tensordot(W, Z, axes=(1, k)))
    squares = squares.mean(axis=-1) if many else squares
    others = [p for j, p in enumerate(values) if j != k]
    return contract(squares, [np.empty(0), *others], 0)
