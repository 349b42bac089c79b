"""Real data beside columns of noise, and how well trees classify by some of the columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.gpu import core
from sparsetheory.typing import AnyArray, Float64Array, Int64Array

__all__ = ["Split", "noisy_digits", "noisy_mnist", "table"]


@dataclass(frozen=True, eq=False)
class Split:
    """Columns and classes, split at random into two parts, the first of which columns are selected and trees grown on.

    Parameters
    ----------
    raw : ndarray of shape (n, n_features)
        In the units of the data, the first part first.
    y : ndarray of int64 of shape (n,)
    n_train, n_real : int
        Rows of the first part; columns that are not noise, which come first.
    seed : int
        Of the trees.
    """

    raw: Float64Array
    y: Int64Array
    n_train: int
    n_real: int
    seed: int

    @property
    def X(self) -> Float64Array:
        """Columns with mean zero and variance one in the first part; constant ones are zero there."""
        first = self.raw[: self.n_train]
        deviations = first.std(axis=0)
        return np.asarray((self.raw - first.mean(axis=0)) / np.where(deviations > 0, deviations, 1.0))

    def accuracy(self, columns: AnyArray, n_trees: int) -> float:
        """Return the share of the second part that trees classify rightly by some of the columns."""
        from sklearn.ensemble import ExtraTreesClassifier

        chosen, n = self.raw[:, columns], self.n_train
        trees = ExtraTreesClassifier(n_trees, random_state=self.seed).fit(chosen[:n], self.y[:n])
        return float(trees.score(chosen[n:], self.y[n:]))


def _split(features: Float64Array, y: Int64Array, n_noise: int, share: float, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    noisy = np.hstack([features[order], rng.standard_normal((len(y), n_noise))])
    return Split(noisy, y[order], round(share * len(y)), features.shape[1], seed)


def _pictures(found: Any, n_noise: int, seed: int) -> Split:
    return _split(found.images.reshape(len(found.labels), -1).astype(np.float64), found.labels, n_noise, 2 / 3, seed)


def noisy_digits(seed: int) -> Split:
    """Return 1797 digits of 64 pixels, three of which are constant, beside 136 columns of noise."""
    return _pictures(core.datasets.load_digits(), 136, seed)


def noisy_mnist(seed: int) -> Split:
    """Return 5000 digits of 784 pixels beside 416 columns of noise."""
    return _pictures(core.datasets.load_mnist_5k(), 416, seed)


def table(name: str, seed: int) -> Split:
    """Return a table with classes, without noise."""
    found = core.datasets.load_table(name)
    return _split(found.X, found.y, 0, 2 / 3, seed)
