"""Points with labels on which errors show, and what is known of them by differences of all pairs."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["Cloud", "cubes", "labelled_clouds", "pair_distances", "smallest_between"]

_KINDS = ("gaussian", "far from the origin", "two clusters", "scales", "near pair")


@dataclass(frozen=True)
class Cloud:
    """Labelled points by a seed.

    Parameters
    ----------
    seed : int
    n_samples, n_features, n_classes : int
    kind : str
        Where the points lie; some of them lose small distances in products.
    """

    seed: int
    n_samples: int
    n_features: int
    n_classes: int
    kind: str

    @cached_property
    def points(self) -> Float64Array:
        """Coordinates of shape (n_samples, n_features)."""
        rng = np.random.default_rng(self.seed)
        X = rng.standard_normal((self.n_samples, self.n_features))
        if self.kind == "far from the origin":
            X = 1e4 + 0.1 * X
        elif self.kind == "two clusters":
            X += 1e8 * rng.choice([-1.0, 1.0], (self.n_samples, 1))
        elif self.kind == "scales":
            X *= 10.0 ** rng.uniform(-3, 3, (self.n_samples, 1))
        elif self.kind == "near pair":
            X[1] = X[0] + 1e-7 * X[1]
        return X

    @cached_property
    def labels(self) -> Int64Array:
        """Classes of shape (n_samples,), at least two of them."""
        labels = np.random.default_rng(self.seed + 1).integers(0, self.n_classes, self.n_samples)
        labels[:2] = 0, 1
        return labels


def labelled_clouds() -> st.SearchStrategy[Cloud]:
    """Return a strategy of labelled points."""
    sizes = st.integers(4, 40), st.integers(1, 6), st.integers(2, 5)
    return st.builds(Cloud, st.integers(0, 2**32 - 2), *sizes, st.sampled_from(_KINDS))


def pair_distances(X: Float64Array) -> Float64Array:
    """Return all distances by differences of coordinates."""
    return np.asarray(np.linalg.norm(X[:, None] - X[None], axis=2))


def smallest_between(X: Float64Array, labels: Int64Array) -> float:
    """Return the smallest distance of points of different classes, by differences of all pairs."""
    distances = pair_distances(X)
    return float(distances[labels[:, None] != labels].min())


def cubes(seed: int, dimension: int, n_samples: int, n_features: int = 50) -> Float64Array:
    """Return uniform points of a unit cube in a random subspace."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((n_features, dimension)))[0]
    return np.asarray(rng.random((n_samples, dimension)) @ basis.T)
