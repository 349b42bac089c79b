"""From a record to the numbers that are randomized: clipping, units, products."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .schema import LDPSchema

__all__ = [
    "joint_radius",
    "joint_vectors",
    "joint_weights",
    "lattice_step",
    "normalised",
    "on_lattice",
    "require_finite",
    "shortened",
    "sketch_radius",
    "sketch_vectors",
]

_Rows = NDArray[np.float64]
_LATTICE_BITS = 28
_LARGEST = float(np.finfo(np.float64).max)


def require_finite(X: ArrayLike, y: ArrayLike, n_features: int) -> tuple[_Rows, _Rows]:
    """Return records in double precision.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
    y : array-like of shape (n,)
    n_features : int
        What the schema says.

    Returns
    -------
    X, y : ndarray

    Raises
    ------
    ValueError
        If shapes are wrong, or for NaN or infinity: comparisons with NaN have one outcome, which would be no secret.
    """
    for name, given in (("X", X), ("y", y)):
        if np.asarray(given).dtype.kind in "cSU":
            raise ValueError(f"{name} must hold real numbers; got {np.asarray(given).dtype}")
    rows, responses = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != n_features:
        raise ValueError(f"X must be of shape (n, {n_features}); got shape {rows.shape}")
    if responses.shape != rows.shape[:1]:
        raise ValueError(f"y must be of shape {rows.shape[:1]}; got shape {responses.shape}")
    for name, values in (("X", rows), ("y", responses)):
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{name} must be finite; got {values[~np.isfinite(values)].flat[0]!r}")
    return rows, responses


def normalised(schema: LDPSchema, X: _Rows, y: _Rows, *, by_entries: bool = False) -> tuple[_Rows, _Rows]:
    """Return clipped records without units.

    Parameters
    ----------
    schema : LDPSchema
    X : ndarray of shape (n, n_features)
    y : ndarray of shape (n,)
    by_entries : bool
        Whether features are cut entry by entry and divided by the largest entry, so that they lie in [-1, 1]. Otherwise
        they are also shortened to the largest norm, and divided by it: their norm, with the constant, is at most 1.

    Returns
    -------
    features : ndarray of shape (n, n_design)
    responses : ndarray of shape (n,)
        In [-1, 1].
    """
    with np.errstate(over="ignore"):
        # A quotient beyond all doubles is the largest one: infinity over infinity would be NaN, which no clip bounds.
        scaled = np.clip(X / np.asarray(schema.scale_x), -_LARGEST, _LARGEST)
        responses = np.clip(y / schema.clip_y, -1.0, 1.0)
    if by_entries or schema.clip_entries is not None:
        scaled = np.clip(scaled, -schema.largest_entry, schema.largest_entry)
    if not by_entries and schema.clip_x is not None:
        scaled = shortened(scaled, schema.largest_norm)
    unit = schema.largest_entry if by_entries else schema.radius
    if schema.fit_intercept:
        scaled = np.column_stack([scaled, np.full(len(scaled), schema.constant)])
    return scaled / unit, responses


def shortened(rows: _Rows, bound: float) -> _Rows:
    """Return rows of at most a given norm, up to rounding; squares of huge entries do not overflow."""
    largest = np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
    relative = rows / np.where(largest > 0, largest, 1.0)
    norms = np.sqrt(np.einsum("ij,ij->i", relative, relative))[:, None]
    with np.errstate(over="ignore"):
        long = norms * largest > bound
    # Of a record far outside the direction alone counts.
    return np.where(long, relative * (bound / np.maximum(norms, 1.0)), rows)


def on_lattice(rows: _Rows, radius: float) -> _Rows:
    """Return rows rounded to multiples of a power of two, about 2^-28 times the radius of the ball that holds them.

    Their products with public directions are then sums of integers. By the inequality of Cauchy and Schwarz all partial
    sums are below ``2^12 sqrt(p) 2^28``, so they are exact for p up to 2^26, and devices and servers agree on the
    sign whatever the order in which they add, also on zero.
    """
    step = lattice_step(radius)
    return np.rint(rows / step) * step


def lattice_step(radius: float) -> float:
    """Return the step of :func:`on_lattice`."""
    return 2.0 ** (math.frexp(radius)[1] - _LATTICE_BITS)


def joint_radius(schema: LDPSchema) -> float:
    """Return the bound of the norms of the vectors of products, without units."""
    return 1.0 if schema.moments == "cross" else math.hypot(1.0, schema.response_weight)


def sketch_radius(schema: LDPSchema) -> float:
    """Return the bound of the norms of the vectors of features and response, without units."""
    return math.hypot(1.0, schema.response_weight)


def joint_vectors(schema: LDPSchema, features: _Rows, responses: _Rows) -> _Rows:
    r"""Return the products of every user as one vector.

    Parameters
    ----------
    schema : LDPSchema
    features, responses : ndarray
        Of :func:`normalised`.

    Returns
    -------
    ndarray of shape (n, n_products)
        The upper triangle of the products of features, row by row, with those off the diagonal times :math:`\sqrt 2`,
        then the products with the response times `response_weight`. Norms are at most ``sqrt(1 + response_weight^2)``.
        For moments "cross" the products with the response alone, unweighted.
    """
    crossed = features * responses[:, None]
    if schema.moments == "cross":
        return crossed
    rows, columns = schema.triangle
    return np.hstack([features[:, rows] * features[:, columns], crossed]) * joint_weights(schema)


def joint_weights(schema: LDPSchema) -> _Rows:
    """Return the weights of the products of :func:`joint_vectors`, for moments "joint"."""
    rows, columns = schema.triangle
    crossed = np.full(schema.n_design, schema.response_weight)
    return np.append(np.where(rows == columns, 1.0, math.sqrt(2.0)), crossed)


def sketch_vectors(schema: LDPSchema, features: _Rows, responses: _Rows) -> _Rows:
    """Return features and weighted response of every user as one vector, of squared norm at most 1 + weight^2.

    Parameters
    ----------
    schema : LDPSchema
    features, responses : ndarray
        Of :func:`normalised`.

    Returns
    -------
    ndarray of shape (n, n_design + 1)
    """
    return np.column_stack([features, schema.response_weight * responses])
