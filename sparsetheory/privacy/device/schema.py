"""What all messages of one collection have in common, public and fixed before any data are seen."""

import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .coin import LARGEST_EPS, SMALLEST_EPS
from .published import Published

__all__ = ["GAUSSIAN", "MECHANISMS", "LDPSchema", "is_integer", "is_number"]

GAUSSIAN = ("gauss_tight", "paper")
MECHANISMS = ("sphere_joint", "sketch", "onebit", *GAUSSIAN)
_MOMENTS = ("joint", "cross")
_OPTIONAL = ("clip_x", "clip_entries")
# Squares of units stay within double precision, and no clipped number is subnormal, where rounding is coarse.
_UNITS = 1e-100, 1e100
# The words of 64 bits that choose between products stand for their shares with six digits or more.
_WEIGHTS = 1e-6, 1e6
_SEEDS = 2**128


@dataclass(frozen=True, kw_only=True)
class LDPSchema(Published):
    r"""The public description of a collection of private moments.

    Every user holds one record: features x and a response y. The features are divided by `scale_x`, clipped, and a
    constant is appended if there is an intercept. What is sent is a randomized form of the products of all features
    with each other and with the response.

    Parameters
    ----------
    mechanism : {"sphere_joint", "sketch", "onebit", "gauss_tight", "paper"}
        The randomizer. The first three send one bit and are eps-private; the others send integers and are
        (eps, delta)-private.
    eps : float
        Privacy parameter, in [1e-9, 20].
    delta : float
        Privacy parameter of the Gaussian mechanisms, in (0, 1); 0 for the others.
    n_features : int
        Number of features, without the constant.
    clip_x : float or None
        Bound of the Euclidean norm of the features, in units of `scale_x`; longer ones are shortened.
    clip_entries : float or None
        Bound of the absolute value of every feature, in units of `scale_x`; larger ones are cut. One of the two bounds
        is needed. The other then follows: no entry exceeds the norm, and no norm exceeds `clip_entries` times the
        square root of the number of features.
    clip_y : float
        Bound of the absolute value of the response, in its own unit. This bound, those of the features and `scale_x`
        are between 1e-100 and 1e100.
    scale_x : float or sequence of float
        Unit of the features, or of each of them.
    fit_intercept : bool
        Whether a constant feature is appended. Its size is that of a typical feature, the smaller one of `clip_x` over
        the square root of the number of features and `clip_entries`.
    moments : {"joint", "cross"}
        Whether both second moments are collected, or only those of features with the response.
    response_weight : float
        Weight of the products with the response against those of features, from 1e-6 to 1e6. More weight means
        less noise in the first and more in the second.
    public_seed : int
        Seed of the public directions, in [0, 2^128).

    Raises
    ------
    ValueError
        If a field is not what is said here.

    Examples
    --------
    >>> schema = LDPSchema(mechanism="sketch", eps=1.0, n_features=20, clip_x=7.0, clip_y=3.0)
    >>> schema.n_design, schema.n_products, LDPSchema.from_json(schema.to_json()) == schema
    (20, 230, True)
    """

    mechanism: str
    eps: float
    delta: float = 0.0
    n_features: int
    clip_x: float | None = None
    clip_entries: float | None = None
    clip_y: float
    scale_x: float | tuple[float, ...] = 1.0
    fit_intercept: bool = False
    moments: str = "joint"
    response_weight: float = 1.0
    public_seed: int = 0

    def __post_init__(self) -> None:
        self._to_plain_types()
        self._require("mechanism", self.mechanism in MECHANISMS, f"one of {', '.join(map(repr, MECHANISMS))}")
        self._require("eps", SMALLEST_EPS <= self.eps <= LARGEST_EPS, f"a number {_words((SMALLEST_EPS, LARGEST_EPS))}")
        if self.mechanism in GAUSSIAN:
            self._require("delta", 0 < self.delta < 1, f"a number in (0, 1) for the mechanism {self.mechanism!r}")
        else:
            self._require("delta", self.delta == 0, f"0, as {self.mechanism!r} is a pure mechanism; drop delta")
        self._require("n_features", self.n_features >= 1, "a positive integer")
        if self.clip_x is None and self.clip_entries is None:
            raise ValueError(
                "clip_x or clip_entries must be given: clipping bounds must be public, "
                "they cannot be estimated from the data"
            )
        for field in _OPTIONAL:
            value = getattr(self, field)
            self._require(field, value is None or _within(value, _UNITS), f"None or a number {_words(_UNITS)}")
        self._require("clip_y", _within(self.clip_y, _UNITS), f"a number {_words(_UNITS)}")
        self._require("response_weight", _within(self.response_weight, _WEIGHTS), f"a number {_words(_WEIGHTS)}")
        listed = isinstance(self.scale_x, tuple)
        scales: tuple[float, ...] = self.scale_x if isinstance(self.scale_x, tuple) else (self.scale_x,)
        fits = (len(scales) == self.n_features or not listed) and all(_within(scale, _UNITS) for scale in scales)
        self._require("scale_x", fits, f"a unit of X {_words(_UNITS)}, or {self.n_features} of them")
        self._require("moments", self.moments in _MOMENTS, f"one of {', '.join(map(repr, _MOMENTS))}")
        if self.mechanism == "sketch" and self.moments == "cross":
            raise ValueError(
                "moments must be 'joint' for the mechanism 'sketch', whose bit holds the whole matrix; got 'cross'"
            )
        self._require("public_seed", 0 <= self.public_seed < _SEEDS, "an integer in [0, 2**128)")

    def _to_plain_types(self) -> None:
        """Turn numbers of NumPy into those of Python, and lists into tuples: equal schemas are equal as text."""
        scale: Any = self.scale_x
        if not isinstance(scale, Real):
            listed = isinstance(scale, list | tuple | np.ndarray) and np.ndim(scale) == 1
            self._require("scale_x", listed and all(map(is_number, scale)), "a number, or a list of numbers")
            object.__setattr__(self, "scale_x", tuple(map(float, scale)))
        for field in ("eps", "delta", "clip_x", "clip_entries", "clip_y", "response_weight", "scale_x"):
            value = getattr(self, field)
            if (field in _OPTIONAL and value is None) or isinstance(value, tuple):
                continue
            self._require(field, is_number(value), "a number")
            # The negative zero is another text than zero.
            object.__setattr__(self, field, float(value) + 0.0)
        for field in ("n_features", "public_seed"):
            value = getattr(self, field)
            self._require(field, is_integer(value), "an integer")
            object.__setattr__(self, field, int(value))
        for field in ("mechanism", "moments"):
            self._require(field, isinstance(getattr(self, field), str), "a string")
            object.__setattr__(self, field, str(getattr(self, field)))
        self._require("fit_intercept", isinstance(self.fit_intercept, bool | np.bool_), "True or False")
        object.__setattr__(self, "fit_intercept", bool(self.fit_intercept))

    def _require(self, name: str, holds: bool, need: str) -> None:
        if not holds:
            raise ValueError(f"{name} must be {need}; got {getattr(self, name)!r}")

    @property
    def n_design(self) -> int:
        """Number of features with the constant."""
        return self.n_features + int(self.fit_intercept)

    @property
    def n_products(self) -> int:
        """Number of products of one user: of features with features, and of features with the response."""
        q = self.n_design
        return q + (q * (q + 1) // 2 if self.moments == "joint" else 0)

    @property
    def largest_norm(self) -> float:
        """Bound of the Euclidean norm of the clipped features, without the constant."""
        bounds = [self.clip_x, None if self.clip_entries is None else self.clip_entries * math.sqrt(self.n_features)]
        return min(bound for bound in bounds if bound is not None)

    @property
    def largest_entry(self) -> float:
        """Bound of the absolute value of a clipped feature."""
        return min(bound for bound in (self.clip_x, self.clip_entries) if bound is not None)

    @property
    def constant(self) -> float:
        """The constant feature; 0 without an intercept."""
        if not self.fit_intercept:
            return 0.0
        return min(self.largest_entry, self.largest_norm / math.sqrt(self.n_features))

    @property
    def radius(self) -> float:
        """Bound of the Euclidean norm of the features with the constant."""
        return math.hypot(self.largest_norm, self.constant)

    @cached_property
    def triangle(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the upper triangle, in the order in which products are sent: row by row."""
        return np.triu_indices(self.n_design)

    @property
    def cross_words(self) -> int:
        """How many of all words of 64 bits send a user of "onebit" to a product with the response.

        Their share is w^2 / (1 + w^2) with the weight w of the response.
        """
        square = self.response_weight**2
        return int(square / (1 + square) * 2.0**64)


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer, of Python or of NumPy; booleans are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a finite real number, of Python or of NumPy; booleans are none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond double precision
        return False


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def _words(bounds: tuple[float, float]) -> str:
    return f"in [{bounds[0]:g}, {bounds[1]:g}]"
