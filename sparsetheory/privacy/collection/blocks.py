"""Messages of many users at once, the same as those of one client each."""

import numpy as np
from numpy.typing import NDArray

from sparsetheory.numba_kernels.privacy import directions as kernels
from sparsetheory.privacy.device.client import released_vectors
from sparsetheory.privacy.device.coin import Coin, private_signs
from sparsetheory.privacy.device.gaussian_noise import gaussian_messages
from sparsetheory.privacy.device.records import (
    joint_radius,
    joint_vectors,
    joint_weights,
    lattice_step,
    normalised,
    require_finite,
    sketch_radius,
    sketch_vectors,
)
from sparsetheory.privacy.device.schema import GAUSSIAN, LDPSchema
from sparsetheory.privacy.randomizers.expansion import direction_table, noise_integers, public_key, scratch
from sparsetheory.privacy.randomizers.onebit import choices
from sparsetheory.privacy.randomizers.sketch import sketch_signs
from sparsetheory.privacy.randomizers.sphere import sphere_signs
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["chosen_products", "encode_block"]

# Numbers in one block of what is formed for all its users: they stay in the cache between their making and their use.
_BLOCK = 2**16


def chosen_products(schema: LDPSchema, users: NDArray[np.uint64]) -> Int64Array:
    """Return the public product of every user of "onebit": second moments first, then cross moments."""
    n_cross = schema.n_design
    return choices(schema.public_seed, users, schema.cross_words, schema.n_products - n_cross, n_cross)


def encode_block(
    schema: LDPSchema, X: Float64Array, y: Float64Array, users: NDArray[np.uint64], coin: Coin | None = None
) -> NDArray[np.signedinteger]:
    """Return what users send, without headers.

    Parameters
    ----------
    schema : LDPSchema
    X : ndarray of shape (n, n_features)
    y : ndarray of shape (n,)
    users : ndarray of uint64, of shape (n,)
    coin : callable, optional
        Source of random words; the operating system by default.

    Returns
    -------
    ndarray
        Signs of type int8, of shape (n,), or lattice points of type int32, of shape (n, n_products).

    Raises
    ------
    ValueError
        If a shape is wrong, or for NaN or infinity. No coin is tossed then.
    """
    X, y = require_finite(X, y, schema.n_features)
    formed = schema.n_products if schema.mechanism in GAUSSIAN else schema.n_design
    step = max(1, _BLOCK // formed)
    parts = [
        _encode(schema, X[start : start + step], y[start : start + step], users[start : start + step], coin)
        for start in range(0, max(1, len(X)), step)  # one block, even if there are no users
    ]
    return np.concatenate(parts)


def _encode(
    schema: LDPSchema, X: Float64Array, y: Float64Array, users: NDArray[np.uint64], coin: Coin | None
) -> NDArray[np.signedinteger]:
    if schema.mechanism in GAUSSIAN:
        return gaussian_messages(schema, released_vectors(schema, X, y), coin, noise_integers)
    key = public_key(schema.public_seed)
    if schema.mechanism == "sphere_joint" and schema.moments == "joint":
        return _joint_signs(schema, *normalised(schema, X, y), users, coin)
    if schema.mechanism == "sphere_joint":
        vectors = joint_vectors(schema, *normalised(schema, X, y))
        return sphere_signs(vectors, joint_radius(schema), schema.eps, key, users, coin)
    if schema.mechanism == "sketch":
        vectors = sketch_vectors(schema, *normalised(schema, X, y))
        return sketch_signs(vectors, sketch_radius(schema), schema.eps, key, users, coin)
    products = _products(schema, *normalised(schema, X, y, by_entries=True), chosen_products(schema, users))
    return private_signs(np.ones(len(X), dtype=np.int8), 0.5 + products / 2, schema.eps, coin)


def _joint_signs(
    schema: LDPSchema, features: Float64Array, responses: Float64Array, users: NDArray[np.uint64], coin: Coin | None
) -> NDArray[np.int8]:
    """Return the signs of :func:`sphere_signs` for the vectors of all products, which are not formed."""
    radius, weights = joint_radius(schema), joint_weights(schema)
    true, squares = np.empty(len(users), dtype=np.int8), np.empty(len(users))
    words, _ = scratch(weights.size)
    kernels.joint_signs(
        np.ascontiguousarray(features),
        np.ascontiguousarray(responses),
        weights,
        lattice_step(radius),
        public_key(schema.public_seed),
        users,
        direction_table(),
        words,
        np.empty(2 * weights.size),
        true,
        squares,
    )
    return private_signs(true, 0.5 + np.sqrt(squares) / (2 * radius), schema.eps, coin)


def _products(schema: LDPSchema, features: Float64Array, responses: Float64Array, chosen: Int64Array) -> Float64Array:
    """Return one product of every user."""
    n_second = schema.n_products - schema.n_design
    rows, columns = schema.triangle
    everyone = np.arange(len(features))
    crossed = chosen >= n_second
    second = np.where(crossed, 0, chosen)
    squared = features[everyone, rows[second]] * features[everyone, columns[second]]
    return np.where(crossed, features[everyone, np.maximum(chosen - n_second, 0)] * responses, squared)
