"""Gradient messages of many users at once, the same as those of one device each."""

import numpy as np
from numpy.typing import NDArray

from sparsetheory.numba_kernels.privacy import directions as kernels
from sparsetheory.privacy.device.coin import Coin
from sparsetheory.privacy.device.gradient import DIRECTIONS, ROUNDS, GradientQuery, gradient_vectors
from sparsetheory.privacy.device.gradient_schema import GradientSchema
from sparsetheory.privacy.randomizers.expansion import public_key
from sparsetheory.privacy.randomizers.sphere import sphere_signs
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["encode_gradients", "rounds_of"]


def rounds_of(schema: GradientSchema, users: NDArray[np.uint64]) -> Int64Array:
    """Return the round of every user.

    Parameters
    ----------
    schema : GradientSchema
    users : ndarray of uint64, of shape (n,)

    Returns
    -------
    ndarray of int64, of shape (n,)
        As :func:`sparsetheory.privacy.device.gradient.round_of` says of each.
    """
    slots = np.empty(len(users), dtype=np.int64)
    screened = schema.screen is not None
    key = public_key(schema.public_seed, ROUNDS)
    kernels.product_choices(key, users, np.uint64(0), 0, (1 + screened) * schema.n_rounds, slots)
    return np.maximum(0, slots - schema.n_rounds + 1) if screened else slots


def encode_gradients(
    query: GradientQuery, X: Float64Array, y: Float64Array, users: NDArray[np.uint64], coin: Coin | None = None
) -> NDArray[np.int8]:
    """Return the signs that users of one round send.

    Parameters
    ----------
    query : GradientQuery
    X : ndarray of shape (n, n_features)
        All features, finite; a few thousand rows at once.
    y : ndarray of shape (n,)
        Finite.
    users : ndarray of uint64, of shape (n,)
        Users of this round.
    coin : callable, optional
        Source of random words; the operating system by default.

    Returns
    -------
    ndarray of int8, of shape (n,)
    """
    vectors = np.ascontiguousarray(gradient_vectors(query, X, y))
    key = public_key(query.schema.public_seed, DIRECTIONS)
    return sphere_signs(vectors, query.radius, query.schema.eps, key, users, coin)
