"""The client: one record in, one private message out."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .coin import Coin, private_signs
from .directions import public_index, public_normals, public_words
from .gaussian_noise import gaussian_messages
from .messages import pack, user_number
from .records import (
    joint_radius,
    joint_vectors,
    normalised,
    on_lattice,
    require_finite,
    sketch_radius,
    sketch_vectors,
)
from .schema import GAUSSIAN, LDPSchema

__all__ = ["LDPClient"]


class LDPClient:
    """Encodes the record of a user, on the device of the user.

    The folder of this class needs Python's standard library and NumPy, and nothing else of this package. What leaves
    the device is (eps, delta)-private whatever the server does with it: the server does not see the secret coin, and
    privacy holds for every public direction, also for one that a hostile server has chosen. Where a server publishes
    the schema, the device compares eps, delta and the mechanism with what its user agreed to.

    Parameters
    ----------
    mechanism : {"sphere_joint", "sketch", "onebit", "gauss_tight", "paper"}
        The randomizer.
    eps : float
        Privacy parameter, in [1e-9, 20]: whatever the record, the probability of a message changes at most by e^eps.
    delta : float
        Privacy parameter of the Gaussian mechanisms; 0 for the others.
    n_features : int
        Number of features.
    clip_x, clip_y : float
        Bounds of the norm of the features and of the response. They are public, and chosen without the data.
    public_seed : int
        Seed of the public directions, drawn once by whoever runs the collection.
    **options
        Further fields of :class:`LDPSchema`: `clip_entries`, `scale_x`, `fit_intercept`, `moments`, `response_weight`.

    Attributes
    ----------
    schema : LDPSchema
        What the server needs to know.

    Examples
    --------
    >>> import numpy as np
    >>> client = LDPClient("sketch", eps=1.0, n_features=3, clip_x=2.0, clip_y=1.0, public_seed=2026)
    >>> message = client.encode(np.array([0.5, -1.0, 0.2]), 0.7, user_id=12)
    >>> len(message), message[:8] == client.schema.fingerprint, message[16] in (0, 1)
    (17, True, True)
    """

    def __init__(
        self,
        mechanism: str = "sphere_joint",
        *,
        eps: float,
        delta: float = 0.0,
        n_features: int,
        clip_x: float | None = None,
        clip_y: float,
        public_seed: int,
        **options: Any,
    ) -> None:
        self.schema = LDPSchema(
            mechanism=mechanism,
            eps=eps,
            delta=delta,
            n_features=n_features,
            clip_x=clip_x,
            clip_y=clip_y,
            public_seed=public_seed,
            **options,
        )

    @classmethod
    def from_schema(cls, schema: LDPSchema) -> "LDPClient":
        """Return the client of a collection that a server has published."""
        client = cls.__new__(cls)
        client.schema = schema
        return client

    def encode(self, x: ArrayLike, y: float, user_id: int, *, coin: Coin | None = None) -> bytes:
        """Return the private message of one user.

        A user who sends a second message spends a second budget. The client keeps no memory of that; the device does,
        or a ledger.

        Parameters
        ----------
        x : array-like of shape (n_features,)
            Features.
        y : float
            Response.
        user_id : int
            Number of the user, in [0, 2^64).
        coin : callable, optional
            Source of random words, for tests alone. The default is the operating system's generator, and only that is
            private.

        Returns
        -------
        bytes
            As in :mod:`sparsetheory.privacy.device.messages`.

        Raises
        ------
        ValueError
            If the record has another shape, or NaN or infinity. No coin is tossed then.
        """
        user = user_number(user_id)
        X, responses = require_finite(np.asarray(x)[None], np.asarray(y)[None], self.schema.n_features)
        if self.schema.mechanism in GAUSSIAN:
            vectors = released_vectors(self.schema, X, responses)
            return pack(self.schema, user, gaussian_messages(self.schema, vectors, coin)[0])
        true, agreement = _bit(self.schema, X, responses, user)
        signs = private_signs(np.array([true], dtype=np.int8), np.array([agreement]), self.schema.eps, coin)
        return pack(self.schema, user, signs)


def released_vectors(
    schema: LDPSchema, X: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Return what the Gaussian mechanisms add noise to, one block of rows for each release.

    Parameters
    ----------
    schema : LDPSchema
    X : ndarray of shape (n, n_features)
    y : ndarray of shape (n,)

    Returns
    -------
    tuple of ndarray
    """
    if schema.mechanism == "gauss_tight":
        return (joint_vectors(schema, *normalised(schema, X, y)),)
    features, responses = normalised(schema, X, y, by_entries=True)
    crossed = features * responses[:, None]
    if schema.moments == "cross":
        return (crossed,)
    shortened, _ = normalised(schema, X, y)
    rows, columns = schema.triangle
    return shortened[:, rows] * shortened[:, columns], crossed


def _bit(schema: LDPSchema, X: NDArray[np.float64], y: NDArray[np.float64], user: int) -> tuple[int, float]:
    """Return the sign of one record on its public direction, and how probable it is before the secret coin."""
    seed = schema.public_seed
    if schema.mechanism == "onebit":
        block, place = public_words(seed, user, 2).tolist()
        value = _product(schema, *normalised(schema, X, y, by_entries=True), block, place)
        return 1, 0.5 + value / 2
    if schema.mechanism == "sketch":
        radius = sketch_radius(schema)
        z = on_lattice(sketch_vectors(schema, *normalised(schema, X, y))[0], radius)
        first, second = public_normals(seed, user, 2 * z.size).reshape(2, -1).astype(np.float64) @ z
        return (-1 if (first < 0) != (second < 0) else 1), 0.5 + float(z @ z) / (2 * radius**2)
    radius = joint_radius(schema)
    v = on_lattice(joint_vectors(schema, *normalised(schema, X, y))[0], radius)
    projection = public_normals(seed, user, v.size).astype(np.float64) @ v
    return (-1 if projection < 0 else 1), 0.5 + float(np.sqrt(v @ v)) / (2 * radius)


def _product(
    schema: LDPSchema, features: NDArray[np.float64], responses: NDArray[np.float64], block: int, place: int
) -> float:
    """Return the product that two public words choose, in [-1, 1]."""
    rows, columns = schema.triangle
    if schema.moments == "cross" or block < schema.cross_words:
        return float(features[0, public_index(place, schema.n_design)] * responses[0])
    index = public_index(place, len(rows))
    return float(features[0, rows[index]] * features[0, columns[index]])
