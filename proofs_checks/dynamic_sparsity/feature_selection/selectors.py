"""Ways to select features, most of them without labels, as functions of one signature: the columns of a `Split`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.dynamic_sparsity.feature_selection.noisy_features import Split
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["SELECTORS", "Settings", "laplacian_scores"]

Settings = Mapping[str, Any]
_NEIGHBOURS = 5


def laplacian_scores(X: Float64Array) -> Float64Array:
    """Return how much each column changes between samples that are near, over its variance; small is good.

    Samples are joined to their five nearest, with weights ``exp(-d^2 / t)``, t the mean of the squared distances. With
    D the degrees and L = D - W, the score of a column f without its D-weighted mean is ``f'Lf / f'Df``. (He, Cai and
    Niyogi, Laplacian score for feature selection, NIPS 2005.) Constant columns score infinity.
    """
    from sklearn.neighbors import kneighbors_graph

    graph = kneighbors_graph(X, _NEIGHBOURS, mode="distance")
    graph.data = np.exp(-(graph.data**2) / max((graph.data**2).mean(), np.finfo(np.float64).tiny))
    joined = graph.maximum(graph.T)
    degrees = np.asarray(joined.sum(axis=1)).ravel()
    centred = X - (degrees @ X) / degrees.sum()
    energies = degrees @ centred**2
    changes = energies - np.einsum("ij,ij->j", centred, joined @ centred)
    # What rounding leaves of a constant is no energy.
    varies = energies > 1e-20 * (degrees @ X**2)
    return np.divide(changes, energies, out=np.full(X.shape[1], np.inf), where=varies)


def _quick(split: Split, n_selected: int, settings: Settings) -> IndexArray:
    X = split.X[: split.n_train].astype(np.float32)
    selector = dynamic.QuickSelection(n_selected, random_state=split.seed, **settings).fit(X)
    return np.asarray(selector.get_support(indices=True))


def _greedy(split: Split, n_selected: int, _: Settings) -> IndexArray:
    return dynamic.greedy_column_subset(split.X[: split.n_train], n_selected).indices


def _pivoted(split: Split, n_selected: int, _: Settings) -> IndexArray:
    from scipy.linalg import qr

    return np.asarray(qr(split.X[: split.n_train], mode="r", pivoting=True)[1][:n_selected])


def _variance(split: Split, n_selected: int, _: Settings) -> IndexArray:
    return np.argsort(-split.raw[: split.n_train].var(axis=0), kind="stable")[:n_selected]


def _laplacian(split: Split, n_selected: int, _: Settings) -> IndexArray:
    return np.argsort(laplacian_scores(split.X[: split.n_train]), kind="stable")[:n_selected]


def _random(split: Split, n_selected: int, _: Settings) -> IndexArray:
    return np.random.default_rng(split.seed).choice(split.raw.shape[1], n_selected, replace=False)


def _trees(split: Split, n_selected: int, _: Settings) -> IndexArray:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.feature_selection import SelectFromModel

    trees = ExtraTreesClassifier(50, random_state=split.seed)
    selector = SelectFromModel(trees, max_features=n_selected, threshold=-np.inf)
    found = selector.fit(split.raw[: split.n_train], split.y[: split.n_train])
    return np.asarray(found.get_support(indices=True))


SELECTORS: Mapping[str, Callable[[Split, int, Settings], IndexArray]] = {
    "QuickSelection": _quick,
    "greedy columns": _greedy,
    "pivoted QR": _pivoted,
    "Laplacian score": _laplacian,
    "largest variance": _variance,
    "random": _random,
    "trees, with labels": _trees,
}
"""Names as the table shows them; the last one sees the labels, and is a reference."""
