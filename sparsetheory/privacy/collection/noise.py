"""How much noise privacy adds to a moment."""

import math
from dataclasses import dataclass

from sparsetheory.privacy.device.gaussian_noise import gaussian_releases
from sparsetheory.privacy.device.records import joint_radius, sketch_radius
from sparsetheory.privacy.device.schema import LDPSchema
from sparsetheory.privacy.randomizers.scales import keep_factor, sketch_scale, sphere_scale

__all__ = ["ReleaseNoise", "moment_units", "release_noise"]


@dataclass(frozen=True)
class ReleaseNoise:
    """Standard deviation of the private noise in one user's contribution; in a mean of n users it is over sqrt(n).

    Parameters
    ----------
    off_diagonal_std : float
        In the product of two features, in units of `scale_x`; 0 where the covariance is public.
    diagonal_std : float
        In the square of a feature.
    cross_std : float
        In the product of a feature with the response.
    """

    off_diagonal_std: float
    diagonal_std: float
    cross_std: float

    def residual_std(self, norm_bound: float) -> float:
        r"""Return a bound of the noise of ``b - A theta`` along any direction.

        With independent off-diagonal entries of variance v the covariance of :math:`N \theta` for the symmetric noise N
        is :math:`v (\|\theta\|^2 I + \theta \theta^T)` plus a diagonal, which is zero where diagonal entries have the
        variance 2v. Its largest eigenvalue is at most :math:`2 v \|\theta\|^2`.

        Parameters
        ----------
        norm_bound : float
            Bound of the Euclidean norm of theta.

        Returns
        -------
        float
        """
        largest = max(math.sqrt(2) * self.off_diagonal_std, self.diagonal_std)
        return math.hypot(self.cross_std, largest * norm_bound)

    def spectral_norm(self, n_features: int) -> float:
        """Return about the spectral norm of the noise in one user's matrix, ``2 sqrt(d)`` times its entries."""
        return 2.0 * math.sqrt(n_features) * self.off_diagonal_std


def moment_units(schema: LDPSchema) -> tuple[float, float]:
    """Return the units of second and of cross moments: what the products without units are multiplied by."""
    if schema.mechanism == "onebit":
        return schema.largest_entry**2, schema.largest_entry * schema.clip_y
    entry = schema.largest_entry if schema.mechanism == "paper" else schema.radius
    return schema.radius**2, entry * schema.clip_y


def release_noise(schema: LDPSchema) -> ReleaseNoise:
    """Return the noise of a collection.

    Parameters
    ----------
    schema : LDPSchema

    Returns
    -------
    ReleaseNoise

    Notes
    -----
    The second moment of what a bit stands for, which exceeds its variance by the square of its mean. Of Gaussian
    messages the variance itself; the lattice adds less than 10^-8 of it.
    """
    second, cross = _relative_noise(schema)
    second_unit, cross_unit = moment_units(schema)
    off, diagonal = second
    return ReleaseNoise(off * second_unit, diagonal * second_unit, cross * cross_unit)


def _relative_noise(schema: LDPSchema) -> tuple[tuple[float, float], float]:
    """Return standard deviations without units: of off-diagonal and diagonal products, and of cross products."""
    if schema.moments == "cross":
        return (0.0, 0.0), _cross_noise(schema)
    weight = schema.response_weight
    if schema.mechanism == "paper":
        first, second = gaussian_releases(schema)
        return (first.noise_std, first.noise_std), second.noise_std
    if schema.mechanism == "sketch":
        c = sketch_scale(schema.eps, sketch_radius(schema))
        return (c / math.sqrt(2), c), c / (math.sqrt(2) * weight)
    if schema.mechanism == "onebit":
        # A product is sent with probability P / m, and counts m / P times a bit: its second moment is m / P.
        share = weight**2 / (1 + weight**2)
        n_cross = schema.n_design
        entry = keep_factor(schema.eps) * math.sqrt((schema.n_products - n_cross) / (1 - share))
        return (entry, entry), keep_factor(schema.eps) * math.sqrt(n_cross / share)
    if schema.mechanism == "gauss_tight":
        entry = gaussian_releases(schema)[0].noise_std
    else:
        entry = sphere_scale(schema.n_products, schema.eps, joint_radius(schema)) / math.sqrt(schema.n_products)
    return (entry / math.sqrt(2), entry), entry / weight


def _cross_noise(schema: LDPSchema) -> float:
    if schema.mechanism in ("gauss_tight", "paper"):
        return gaussian_releases(schema)[0].noise_std
    if schema.mechanism == "onebit":
        return keep_factor(schema.eps) * math.sqrt(schema.n_design)
    return sphere_scale(schema.n_design, schema.eps) / math.sqrt(schema.n_design)
