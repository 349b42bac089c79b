"""Small attention problems with hard scores: copies of keys, one-key sets, scores from a tenth to 600."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["KINDS", "ROUNDING", "Head", "draw_head", "heads", "seeds"]

# Scores and values in float64, relative to (1 + largest score)(1 + largest value): some hundreds of roundings.
ROUNDING = 1e-12
KINDS = ("gaussian", "copies", "common offset", "one kept", "one dropped", "clusters")
SIZES = (0.1, 1.0, 5.0, 20.0, 600.0)

seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True, eq=False)
class Head:
    """Queries, keys and values, which keys are kept, and to which block each key belongs.

    Parameters
    ----------
    q : ndarray of shape (n, d)
        Their products with the keys are the scores.
    k, v : ndarray of shape (m, d)
    kept : ndarray of bool of shape (m,)
        At least one, and not all.
    labels : ndarray of int of shape (m,)
    kind : str
    """

    q: Float64Array
    k: Float64Array
    v: Float64Array
    kept: BoolArray
    labels: IndexArray
    kind: str

    @cached_property
    def scores(self) -> Float64Array:
        """Scores of all pairs."""
        return self.q @ self.k.T

    @cached_property
    def full(self) -> Float64Array:
        """Softmax of all scores."""
        return _softmax(self.scores)

    @cached_property
    def truncated(self) -> Float64Array:
        """Softmax of the scores of the kept keys."""
        return _softmax(np.where(self.kept, self.scores, -np.inf))

    @cached_property
    def mass(self) -> Float64Array:
        """Dropped mass of each query, a sum of small terms."""
        return self.full[:, ~self.kept].sum(1)

    @property
    def scale(self) -> float:
        """What rounding of an output is relative to."""
        return float((1 + np.abs(self.scores).max()) * (1 + np.linalg.norm(self.v, axis=1).max()))


def draw_head(seed: int, kind: str, size: float, m: int = 0) -> Head:
    """Draw a problem whose largest score is `size`; with m keys, or up to 40."""
    rng = np.random.default_rng(seed)
    m, d = m or int(rng.integers(2, 41)), int(rng.integers(1, 9))
    q, k, v = (rng.standard_normal((rows, d)) for rows in (5, m, m))
    labels = rng.integers(0, min(6, m), m)
    if kind == "copies":
        k, v = k[rng.integers(0, max(1, m // 4), m)], v[rng.integers(0, m, m)]
    elif kind == "common offset":
        k += 10 * rng.standard_normal(d)
    elif kind == "clusters":
        k = rng.standard_normal((6, d))[labels] + 0.02 * k
    count = {"one kept": 1, "one dropped": m - 1}.get(kind, int(rng.integers(1, m)))
    kept = np.zeros(m, dtype=bool)
    kept[rng.choice(m, count, replace=False)] = True
    q *= size / np.abs(q @ k.T).max()
    return Head(q, k, v, kept, labels, kind)


def heads(kinds: tuple[str, ...] = KINDS, sizes: tuple[float, ...] = SIZES) -> st.SearchStrategy[Head]:
    """Return a strategy over problems of all kinds and sizes of scores."""
    return st.builds(draw_head, seeds, st.sampled_from(kinds), st.sampled_from(sizes))


def _softmax(scores: Float64Array) -> Float64Array:
    weights = np.exp(scores - scores.max(1, keepdims=True))
    softmax: Float64Array = weights / weights.sum(1, keepdims=True)
    return softmax
