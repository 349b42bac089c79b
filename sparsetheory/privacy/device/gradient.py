"""One bit about the gradient of one user, in the one round in which that user speaks."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .coin import Coin, private_signs
from .directions import public_index, public_normals, public_words
from .gradient_schema import GradientSchema
from .messages import pack, user_number
from .published import Published
from .records import normalised, on_lattice, require_finite
from .schema import LDPSchema, is_integer, is_number

__all__ = ["DIRECTIONS", "ROUNDS", "GradientQuery", "encode_gradient", "gradient_vectors", "round_of"]

DIRECTIONS, ROUNDS = 1, 2
"""Streams of public words: of directions of gradients, and of the rounds of users. Moments use the stream 0."""


@dataclass(frozen=True, kw_only=True)
class GradientQuery(Published):
    """What the server asks the users of one round.

    Parameters
    ----------
    schema : GradientSchema
        The collection.
    round : int
        Number of the round, from 0.
    coef : tuple of float
        The published coefficients, one for each feature of the round: in the unit of the response over that of the
        features.
    features : tuple of int, optional
        The features of the round, in increasing order; all of them by default.

    Examples
    --------
    >>> schema = GradientSchema(eps=1.0, n_features=3, clip_x=2.0, clip_residual=1.0, n_kept=1, n_rounds=2)
    >>> query = GradientQuery(schema=schema, round=1, coef=(0.0, 0.5, 0.0))
    >>> GradientQuery.from_json(query.to_json()) == query
    True
    """

    _KIND = "query"

    schema: GradientSchema
    round: int
    coef: tuple[float, ...]
    features: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        n_features = self.schema.n_features if self.features is None else len(self.features)
        if not all(map(is_number, self.coef)):
            raise ValueError(f"coef must hold {n_features} finite numbers; got {self.coef!r}")
        if not is_integer(self.round) or not all(map(is_integer, self.features or ())):
            raise ValueError(f"round and features must be integers; got {self.round!r} and {self.features!r}")
        # Numbers of NumPy cannot be written as text.
        object.__setattr__(self, "round", int(self.round))
        object.__setattr__(self, "coef", tuple(float(value) + 0.0 for value in self.coef))
        if self.features is not None:
            object.__setattr__(self, "features", tuple(map(int, self.features)))
            if list(self.features) != sorted(set(self.features) & set(range(self.schema.n_features))):
                raise ValueError(f"features must be increasing numbers of features; got {self.features!r}")
        if not 0 <= self.round < self.schema.n_stages:
            raise ValueError(f"round must be an integer from 0 to {self.schema.n_stages - 1}; got {self.round!r}")
        if len(self.coef) != n_features:
            raise ValueError(f"coef must hold {n_features} finite numbers; got {self.coef!r}")

    @cached_property
    def records(self) -> LDPSchema:
        """How the records of this round are clipped."""
        return self.schema.records if self.features is None else self.schema.restricted_records(self.features)

    @property
    def mechanism(self) -> str:
        """What messages call their randomizer: that of the sphere, for one gradient."""
        return "sphere_gradient"

    @property
    def n_products(self) -> int:
        """Number of entries of a gradient."""
        return len(self.coef)

    @cached_property
    def unit(self) -> float:
        """What gradients without units are multiplied by: the bounds of features and of the residual."""
        return self.schema.feature_bound(len(self.coef)) * self.schema.response_bound

    @cached_property
    def radius(self) -> float:
        """Bound of the norm of a gradient without units."""
        return self.schema.relative_radius(len(self.coef))

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Self:
        schema, coef, features = GradientSchema(**content["schema"]), tuple(content["coef"]), content["features"]
        return cls(
            schema=schema, round=content["round"], coef=coef, features=None if features is None else tuple(features)
        )


def round_of(schema: GradientSchema, user_id: int) -> int:
    """Return the only round in which a user speaks: a hash of the seed and the number of the user.

    No data enter. With a screening round half of all users speak in it; the others are spread over the other rounds.

    Parameters
    ----------
    schema : GradientSchema
    user_id : int
        Number of the user, in [0, 2^64).

    Returns
    -------
    int

    Examples
    --------
    >>> schema = GradientSchema(eps=1.0, n_features=3, clip_x=2.0, clip_residual=1.0, n_kept=1, n_rounds=4, screen=2)
    >>> np.bincount([round_of(schema, user) for user in range(800)]).tolist()
    [406, 110, 90, 88, 106]
    """
    word = int(public_words(schema.public_seed, user_number(user_id), 2, ROUNDS)[1])
    if schema.screen is None:
        return public_index(word, schema.n_rounds)
    return max(0, public_index(word, 2 * schema.n_rounds) - schema.n_rounds + 1)


def gradient_vectors(query: GradientQuery, X: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the clipped gradients of users, without units.

    Parameters
    ----------
    query : GradientQuery
    X : ndarray of shape (n, n_features)
        All features, finite.
    y : ndarray of shape (n,)
        Responses, finite.

    Returns
    -------
    ndarray of shape (n, number of features of the round)
        Of norm at most ``query.radius``; times ``query.unit`` they are gradients in units.
    """
    schema, records = query.schema, query.records
    rows = X if query.features is None else X[:, query.features]
    paper = schema.gradient_clip == "paper"
    features, clipped = normalised(records, rows, y, by_entries=paper)
    bound = schema.response_bound
    predicted = features @ (np.asarray(query.coef) / bound * schema.feature_bound(len(query.coef)))
    if paper:
        return features * (predicted - clipped)[:, None]
    with np.errstate(over="ignore"):
        residuals = np.clip(predicted - y / bound, -1.0, 1.0)
    return features * residuals[:, None]


def encode_gradient(query: GradientQuery, x: ArrayLike, y: float, user_id: int, *, coin: Coin | None = None) -> bytes:
    r"""Return the private message of one user, on the device of the user.

    The message is one bit: the sign of the gradient on the public direction of the user, after the secret coin. It is
    private whatever the published coefficients are, also where a hostile server has chosen them. A device answers one
    query of one collection: a second answer, also to other coefficients in the same round, spends a second budget.

    Parameters
    ----------
    query : GradientQuery
        What the server has published for the current round.
    x : array-like of shape (n_features,)
        Features, all of them.
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
        As in :mod:`sparsetheory.privacy.device.messages`, with the fingerprint of the query.

    Raises
    ------
    ValueError
        If this user speaks in another round, or if the record has another shape, or NaN or infinity. No coin is tossed
        then.

    Examples
    --------
    >>> schema = GradientSchema(eps=1.0, n_features=3, clip_x=2.0, clip_residual=1.0, n_kept=1)
    >>> query = GradientQuery(schema=schema, round=0, coef=(0.0, 0.0, 0.0))
    >>> message = encode_gradient(query, [0.3, -1.0, 0.2], 0.7, user_id=12)
    >>> len(message), message[:8] == query.fingerprint
    (17, True)
    """
    user = user_number(user_id)
    own = round_of(query.schema, user)
    if own != query.round:
        raise ValueError(
            f"user_id must be that of a user of round {query.round}; got {user}, who speaks in round {own}"
        )
    X, responses = require_finite(np.asarray(x)[None], np.asarray(y)[None], query.schema.n_features)
    v = on_lattice(gradient_vectors(query, X, responses)[0], query.radius)
    projection = public_normals(query.schema.public_seed, user, v.size, DIRECTIONS).astype(np.float64) @ v
    true = np.array([-1 if projection < 0 else 1], dtype=np.int8)
    agreement = np.array([0.5 + float(np.sqrt(v @ v)) / (2 * query.radius)])
    return pack(query, user, private_signs(true, agreement, query.schema.eps, coin))
