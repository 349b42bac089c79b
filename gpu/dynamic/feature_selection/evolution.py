"""Sparse evolutionary training of one layer: the connections nearest zero go, as many others are drawn at random."""

import numpy as np

from sparsetheory.gpu.dynamic.feature_selection.layer import WEIGHT_STD, SparseLayer
from sparsetheory.typing import BoolArray, FloatArray, Int64Array

__all__ = ["free_positions", "kept", "pruned", "regrown"]

# Products of a fraction with a number carry rounding errors of a few units of 1e-16 of themselves.
_ROUNDING = 1e-14


def kept(values: FloatArray, fraction: float, rule: str) -> BoolArray:
    """Say which weights stay when a fraction of each sign, those nearest zero, is dropped.

    Parameters
    ----------
    values : ndarray of shape (nnz,)
    fraction : float
        In (0, 1).
    rule : {"exact", "official"}
        "exact" drops exactly ``floor(fraction n)`` of the n negative weights and as many of the others, of equal ones
        those in front. "official" keeps what is strictly beyond two thresholds, as the published code does.

    Returns
    -------
    ndarray of bool of shape (nnz,)
    """
    return _kept_beyond(values, fraction) if rule == "official" else _kept_exactly(values, fraction)


def _kept_exactly(values: FloatArray, fraction: float) -> BoolArray:
    stays = np.ones(values.size, dtype=bool)
    for places in (np.flatnonzero(values < 0), np.flatnonzero(values >= 0)):
        n_dropped = int(fraction * places.size * (1 + _ROUNDING))
        order = np.argsort(np.abs(values[places]), kind="stable")
        stays[places[order[:n_dropped]]] = False
    return stays


def _kept_beyond(values: FloatArray, fraction: float) -> BoolArray:
    """Keep what is below one sorted value and above another one, which themselves go with all that equals them.

    With z the place of the value nearest zero among n sorted ones, these are at ``(1 - fraction) z`` and at
    ``z + 1 + fraction (n - z - 1)``, rounded down. About the fraction of each sign goes, and one or two more.
    """
    n = values.size
    if n == 0:
        return np.ones(0, dtype=bool)
    ordered = np.sort(values)
    z = int(np.abs(ordered).argmin())
    lower, upper = int((1 - fraction) * z), min(n - 1, int(z + 1 + fraction * (n - z - 1)))
    return np.asarray((values < ordered[lower]) | (values > ordered[upper]))


def free_positions(rng: np.random.Generator, occupied: Int64Array, n_places: int, count: int) -> Int64Array:
    """Draw `count` different places that are not occupied, all sets alike; in O((count + nnz) log nnz) time.

    The r-th free place is r plus the number of occupied ones before it. ``occupied[i] - i`` free places lie before the
    i-th occupied one, so these are those with ``occupied[i] - i <= r``.

    Parameters
    ----------
    rng : Generator
    occupied : ndarray of int64
        Ascending.
    n_places : int
    count : int
        At most as many as are free.

    Returns
    -------
    ndarray of int64 of shape (count,)
        In no order.
    """
    # Without shuffling, memory is proportional to the number of draws, however many places there are.
    ranks = rng.choice(n_places - occupied.size, count, replace=False, shuffle=False)
    before = np.searchsorted(occupied - np.arange(occupied.size), ranks, side="right")
    return np.asarray(ranks + before, dtype=np.int64)


def pruned(layer: SparseLayer, fraction: float, rule: str) -> SparseLayer:
    """Return the layer without the fraction of its connections of each sign that is nearest zero."""
    stays = kept(layer.values, fraction, rule)
    return layer.rewired(layer.positions[stays], layer.values[stays], layer.velocity[stays])


def regrown(layer: SparseLayer, n_nonzero: int, rng: np.random.Generator) -> SparseLayer:
    """Return the layer with new connections at random free places, up to `n_nonzero` together.

    New weights are from N(0, 0.1^2), and rest. A place that was just left may be drawn again.
    """
    missing = n_nonzero - layer.n_nonzero
    fresh = free_positions(rng, layer.positions, layer.shape[0] * layer.shape[1], missing)
    values = (WEIGHT_STD * rng.standard_normal(missing)).astype(layer.values.dtype)
    return layer.rewired(
        np.concatenate([layer.positions, fresh]),
        np.concatenate([layer.values, values]),
        np.concatenate([layer.velocity, np.zeros_like(values)]),
    )
