"""How far released moments may lie from those of the records."""

import math

import numpy as np

from sparsetheory.privacy.collection.moments import ReleasedMoments
from sparsetheory.privacy.device.schema import LDPSchema
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["bernstein", "moments_agree"]

_BLOCK = 8192
# Probability that right moments are refused.
_LEVEL = 1e-6
# No product of two public numbers exceeds this many units: each is below 6.4 standard deviations.
_LARGEST_PRODUCT = 41.0


def moments_agree(schema: LDPSchema, moments: ReleasedMoments, X: AnyArray, y: AnyArray) -> bool:
    """Whether released moments lie where the noise allows, given the records.

    Every entry is a mean of n independent numbers with known variance and bound, so Bernstein's inequality limits its
    distance from its mean, which is the moment of the clipped records. All entries are tested at once.

    Parameters
    ----------
    schema : LDPSchema
    moments : ReleasedMoments
    X : ndarray or sparse array of shape (n, n_features)
    y : ndarray of shape (n,)

    Returns
    -------
    bool
    """
    second, cross = _clipped_moments(schema, X, y)
    n, noise = len(y), moments.noise
    q = schema.n_design
    limit = bernstein(_deviation(schema), n, _LEVEL / (q * q + q))
    agrees = np.abs(moments.cross - cross) <= limit * noise.cross_std
    if moments.second is None:
        return bool(agrees.all())
    std = np.full(second.shape, noise.off_diagonal_std)
    np.fill_diagonal(std, noise.diagonal_std)
    return bool(agrees.all() and (np.abs(moments.second - second) <= limit * std).all())


def bernstein(deviation: float, n_terms: int, level: float) -> float:
    """Return the limit of a mean in standard deviations of one term, by Bernstein's inequality.

    Parameters
    ----------
    deviation : float
        Largest distance of a term from its mean, in standard deviations; 0 for normal terms.
    n_terms : int
        Number of independent terms.
    level : float
        Probability beyond the limit, on both sides together.

    Returns
    -------
    float
    """
    log = math.log(2 / level)
    third = deviation * log / 3 / n_terms
    return third + math.sqrt(third**2 + 2 * log / n_terms)


def _deviation(schema: LDPSchema) -> float:
    """Return how far a term of a moment can lie from its mean, in standard deviations.

    Of a direction one entry is at most the whole length; of "onebit" one product is sent and the others are zero. Means
    are no larger, which doubles it.
    """
    deviations = {
        "sphere_joint": 2 * math.sqrt(schema.n_products),
        "onebit": 2 * math.sqrt(schema.n_products / min(1.0, _smaller_share(schema))),
        "sketch": 2 * _LARGEST_PRODUCT,
    }
    return deviations.get(schema.mechanism, 0.0)


def _smaller_share(schema: LDPSchema) -> float:
    """Return the smaller share of users that one of the two blocks of moments has."""
    if schema.moments == "cross":
        return 1.0
    share = schema.response_weight**2 / (1 + schema.response_weight**2)
    return min(share, 1 - share)


def _clipped_moments(schema: LDPSchema, X: AnyArray, y: AnyArray) -> tuple[Float64Array, Float64Array]:
    """Return the moments of clipped records, written down once more without the code of the device."""
    q = schema.n_design
    second, cross = np.zeros((q, q)), np.zeros(q)
    for start in range(0, len(y), _BLOCK):
        rows = X[start : start + _BLOCK]
        rows = np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float64)
        responses = np.minimum(np.maximum(y[start : start + _BLOCK], -schema.clip_y), schema.clip_y)
        rows = rows / np.asarray(schema.scale_x)
        cut = np.minimum(np.maximum(rows, -schema.largest_entry), schema.largest_entry)
        if schema.mechanism == "onebit" or schema.clip_entries is not None:
            rows = cut
        if schema.mechanism != "onebit" and schema.clip_x is not None:
            rows = _at_most(rows, schema.largest_norm)
        constant = np.full((len(rows), 1), schema.constant)[:, : q - schema.n_features]
        features = np.hstack([rows, constant])
        crossed = np.hstack([cut, constant]) if schema.mechanism == "paper" else features
        second += features.T @ features
        cross += crossed.T @ responses
    return second / len(y), cross / len(y)


def _at_most(rows: Float64Array, bound: float) -> Float64Array:
    largest = np.max(np.abs(rows), axis=1, keepdims=True)
    norms = largest * np.linalg.norm(rows / np.maximum(largest, np.finfo(float).tiny), axis=1, keepdims=True)
    return np.asarray(np.where(norms > bound, rows * (bound / np.maximum(norms, bound)), rows))
