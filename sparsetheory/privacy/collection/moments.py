"""Released second moments, and the known law of their noise."""

import math
from dataclasses import dataclass

import numpy as np

from sparsetheory.privacy.collection.noise import ReleaseNoise, moment_units, release_noise
from sparsetheory.privacy.device.gaussian_noise import gaussian_releases
from sparsetheory.privacy.device.records import joint_radius, sketch_radius
from sparsetheory.privacy.device.schema import LDPSchema
from sparsetheory.privacy.randomizers.scales import keep_factor, sketch_scale, sphere_scale
from sparsetheory.privacy.randomizers.sketch import symmetric_mean
from sparsetheory.privacy.randomizers.sphere import SPHERE_UNIT
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["ReleasedMoments", "decode_moments"]


@dataclass(frozen=True, eq=False)
class ReleasedMoments:
    """Private estimates of second moments, in units of `scale_x` for features and of the response for y.

    Whatever is computed from them costs no further privacy.

    Parameters
    ----------
    second : ndarray of shape (n_design, n_design), or None
        Symmetric; the mean of products of features. Not positive definite where the noise is large. None where only
        cross moments were collected.
    cross : ndarray of shape (n_design,)
        The mean of products of features with the response.
    response_square : float or None
        The mean square of the response, where the mechanism gives it.
    noise : ReleaseNoise
        Of one user.
    n_samples : int
        Number of users.
    """

    second: Float64Array | None
    cross: Float64Array
    response_square: float | None
    noise: ReleaseNoise
    n_samples: int


def decode_moments(schema: LDPSchema, total: Int64Array, n_samples: int) -> ReleasedMoments:
    """Return the moments that a sum of messages stands for.

    Parameters
    ----------
    schema : LDPSchema
    total : ndarray of int64
        Of :class:`~sparsetheory.privacy.collection.state.MomentState`.
    n_samples : int
        Number of users, at least 1.

    Returns
    -------
    ReleasedMoments
    """
    second_unit, cross_unit = moment_units(schema)
    square: float | None = None
    second: Float64Array | None
    if schema.mechanism == "sketch":
        matrix = sketch_scale(schema.eps, sketch_radius(schema)) * symmetric_mean(total, n_samples)
        q, weight = schema.n_design, schema.response_weight
        second, cross = matrix[:q, :q], matrix[:q, q] / weight
        unit = schema.clip_y / weight
        square = float(matrix[q, q]) * unit * unit  # a power would raise where a product is infinite
    else:
        second, cross = _from_products(schema, _mean_products(schema, total, n_samples))
    if second is not None:
        second = second * second_unit
        if schema.fit_intercept:
            second[-1, -1] = schema.constant**2
    return ReleasedMoments(second, cross * cross_unit, square, release_noise(schema), n_samples)


def _mean_products(schema: LDPSchema, total: Int64Array, n_samples: int) -> Float64Array:
    """Return the mean of all products of a user, as they are sent: weighted and without units."""
    mean = total / n_samples
    if schema.mechanism in ("gauss_tight", "paper"):
        releases = gaussian_releases(schema)
        return mean * np.repeat([release.unit for release in releases], [release.size for release in releases])
    if schema.mechanism == "sphere_joint":
        return mean * (SPHERE_UNIT * sphere_scale(total.size, schema.eps, joint_radius(schema)))
    n_cross = schema.n_design
    share = 1.0 if schema.moments == "cross" else schema.cross_words / 2.0**64
    inverse = np.full(total.size, n_cross / share)
    if schema.moments == "joint":
        inverse[:-n_cross] = (total.size - n_cross) / (1 - share)
    return mean * inverse * keep_factor(schema.eps)


def _from_products(schema: LDPSchema, products: Float64Array) -> tuple[Float64Array | None, Float64Array]:
    """Return matrix and vector of products, without weights."""
    if schema.moments == "cross":
        return None, products
    q = schema.n_design
    weighted = schema.mechanism in ("sphere_joint", "gauss_tight")
    rows, columns = schema.triangle
    matrix = np.empty((q, q))
    entries = products[:-q] / np.where(weighted & (rows != columns), math.sqrt(2), 1.0)
    matrix[rows, columns] = entries
    matrix[columns, rows] = entries
    return matrix, products[-q:] / (schema.response_weight if weighted else 1.0)
