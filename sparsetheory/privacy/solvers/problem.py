"""A sparse least-squares problem known by noisy moments alone."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.privacy.collection.moments import ReleasedMoments
from sparsetheory.privacy.collection.noise import ReleaseNoise
from sparsetheory.privacy.device.schema import LDPSchema
from sparsetheory.typing import Float64Array

__all__ = ["MomentProblem", "moment_problem"]


@dataclass(frozen=True, eq=False)
class MomentProblem:
    """Moments without the unit of the response, and the scales of their noise.

    Parameters
    ----------
    second : ndarray of shape (n_design, n_design)
        Released or public second moments; the constant feature, if there is one, is the last.
    cross : ndarray of shape (n_design,)
        Released cross moments, over the bound of the response.
    constant : float
        The constant feature; 0 where there is none.
    noise : ReleaseNoise
        Of one user, for the same units.
    n_samples : int
        Number of users.
    """

    second: Float64Array
    cross: Float64Array
    constant: float
    noise: ReleaseNoise
    n_samples: int

    @property
    def noise_norm(self) -> float:
        """About the spectral norm of the noise in the second moments."""
        return self.noise.spectral_norm(len(self.cross)) / float(np.sqrt(self.n_samples))

    def coefficient_bound(self, norm_bound: float) -> float:
        """Return a bound of the norm of all coefficients, that of the constant among them.

        The intercept is the mean of the response, at most 1, less the product of the coefficients with the mean of the
        features.

        Parameters
        ----------
        norm_bound : float
            Bound of the norm of the coefficients of the features.

        Returns
        -------
        float
        """
        if not self.constant:
            return norm_bound
        mean = float(np.linalg.norm(self.second[-1, :-1])) / self.constant
        return float(np.hypot(norm_bound, (1 + mean * norm_bound) / self.constant))

    def without_constant(self) -> tuple[Float64Array, Float64Array]:
        """Return the moments of the features alone after least squares on the constant.

        With mean m and the exactly known square of the constant these are ``A - m m^T`` and ``b - m mean(y)``.
        """
        if not self.constant:
            return self.second, self.cross
        mean, response = self.second[-1, :-1] / self.constant, self.cross[-1] / self.constant
        return self.second[:-1, :-1] - np.outer(mean, mean), self.cross[:-1] - response * mean

    def intercept(self, coef: Float64Array) -> float:
        """Return the intercept that belongs to coefficients of the features."""
        if not self.constant:
            return 0.0
        return float(self.cross[-1] - self.second[-1, :-1] @ coef) / self.constant


def moment_problem(
    schema: LDPSchema, moments: ReleasedMoments, public_second: Float64Array | None = None
) -> MomentProblem:
    """Return the problem of released moments.

    Parameters
    ----------
    schema : LDPSchema
        The collection.
    moments : ReleasedMoments
        Of it.
    public_second : ndarray of shape (n_features, n_features), optional
        Public second moments in units of `scale_x`, instead of released ones.

    Returns
    -------
    MomentProblem

    Raises
    ------
    ValueError
        If there are no second moments at all.
    """
    if public_second is None and moments.second is None:
        raise ValueError("public_covariance must be given: only cross moments were collected; got None")
    public = public_second is not None
    noise = ReleaseNoise(
        0.0 if public else moments.noise.off_diagonal_std,
        0.0 if public else moments.noise.diagonal_std,
        moments.noise.cross_std / schema.clip_y,
    )
    second = public_second if public_second is not None else moments.second
    assert second is not None
    return MomentProblem(second, moments.cross / schema.clip_y, schema.constant, noise, moments.n_samples)
