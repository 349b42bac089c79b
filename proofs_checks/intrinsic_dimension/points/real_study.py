"""Dimension and label sharpness of real data, and what the sharpness says of attacks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, dimension
from sparsetheory.proofs_checks.intrinsic_dimension.points.robustness import (
    PAIRS,
    attacked_pairs,
    correlation,
    digit_pairs,
    published_sharpness,
    sharpness_of_pairs,
)
from sparsetheory.typing import Float64Array, Int64Array

_COLUMNS = (
    "data",
    "points",
    "features",
    "maximum likelihood",
    "TwoNN",
    "90 % of the variance",
    "sharpness",
    "of 1000 points",
    "published function",
)
_NOTES = (
    "Dimensions: two estimators from neighbours, and the linear directions that hold 90 % of the variance. Columns of "
    "tables are standardised. Sharpness: over all pairs; the mean over five samples of 1000 points, which is never "
    "larger; and what the published function computes, which compares points of the same label. Infinite: points of "
    "different classes coincide."
)
_SOURCES = {
    "quick": ("digits",),
    "full": ("digits", "MNIST, 5000", "khan", "nci60", "segment", "pd_speech"),
}


def _load(name: str) -> tuple[Float64Array, Int64Array]:
    datasets = core.datasets
    if name in ("digits", "MNIST, 5000"):
        stored = datasets.load_digits() if name == "digits" else datasets.load_mnist_5k()
        return stored.images.reshape(len(stored.images), -1).astype(np.float64), stored.labels
    table = datasets.load_table(name)
    spread = table.X.std(0)
    return (table.X - table.X.mean(0)) / np.where(spread > 0, spread, 1.0), table.y


def _row(name: str) -> tuple[Any, ...]:
    X, y = _load(name)
    shares = np.cumsum(np.linalg.svd(X - X.mean(0), compute_uv=False) ** 2)
    linear = int(np.searchsorted(shares / shares[-1], 0.9)) + 1
    k = min(20, len(X) // 4)
    dimensions = dimension.mle_dimension(X, k, duplicates="drop"), dimension.twonn_dimension(X, duplicates="drop")
    samples = [dimension.label_sharpness(X, y, 1000, generator=seed).value for seed in range(5)]
    published = published_sharpness(X, y, np.random.default_rng(0))
    sharp = dimension.label_sharpness(X, y).value, float(np.mean(samples)), published
    found = [f"{value:.1f}" for value in dimensions]
    return name, *X.shape, *found, linear, *(f"{value:.3g}" for value in sharp)


def _run(profile: str) -> StudyResult:
    rows = [_row(name) for name in _SOURCES[profile]]

    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        places = np.arange(len(rows))
        for shift, column in ((-0.27, 3), (0.0, 4), (0.27, 5)):
            ax.bar(places + shift, [float(row[column]) for row in rows], 0.27, label=_COLUMNS[column])
        ax.set_xticks(places, [row[0] for row in rows])
        ax.set(ylabel="dimension")
        ax.legend(fontsize=8)

    return StudyResult(_COLUMNS, rows, _NOTES, draw)


point_clouds = Study(
    name="intrinsic_dimension.point_clouds",
    title="Dimension and label sharpness of real data",
    description="Estimates of intrinsic dimension beside linear dimension, and label sharpness beside that of samples "
    "and what the published function computes; digits, and in the full profile MNIST and tables.",
    run=_run,
)

_ATTACKS = ("data", "sharpness and fall of accuracy", "sharpness and test loss", "published function and fall")
_ATTACK_NOTES = (
    "Rank correlations over the 45 pairs of digits, means of {seeds} splits and their standard deviations: logistic "
    "regression on 200 points of a pair, every coordinate moved by 0.1. On larger pictures the relation is weaker, as "
    "the nearest of some 250000 pairs says little about most points."
)


def _run_attacks(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_ATTACKS)
    stored = {"digits": core.datasets.load_digits(), "MNIST, 5000": core.datasets.load_mnist_5k()}
    rows, points, n_seeds = [], {}, 10
    for name, images in stored.items():
        pairs = digit_pairs(np.asarray(images.images, dtype=np.float64), images.labels)
        sharp = sharpness_of_pairs(pairs)
        found, falls = [], []
        for seed in range(n_seeds):
            drops, losses = attacked_pairs(pairs, 0.1, seed)
            rng = np.random.default_rng(seed)
            published = [published_sharpness(X, y, rng) for X, y in pairs]
            found.append((correlation(sharp, drops), correlation(sharp, losses), correlation(published, drops)))
            falls.append(drops)
        points[name] = sharp, np.mean(falls, axis=0)
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
        rows.append((name, *(f"{m:.2f} ± {s:.2f}" for m, s in zip(mean, spread, strict=True))))
    return StudyResult(_ATTACKS, rows, _ATTACK_NOTES.format(seeds=n_seeds), _scatter(points))


def _scatter(points: dict[str, tuple[list[float], Float64Array]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(points), squeeze=False)[0]
        for ax, (name, (sharp, drops)) in zip(axes, points.items(), strict=True):
            ax.scatter(sharp, drops, s=12)
            for pair, x, y in zip(PAIRS, sharp, drops, strict=True):
                ax.annotate("".join(map(str, pair)), (x, y), fontsize=6)
            ax.set(title=name, xlabel="label sharpness", ylabel="fall of accuracy under attack")

    return draw


sharpness_attacks = Study(
    name="intrinsic_dimension.sharpness_attacks",
    title="Label sharpness and attacks",
    description="How the sharpness of pairs of digits goes with what an attack takes from a linear classifier, on "
    "scikit-learn's digits and on MNIST.",
    run=_run_attacks,
)
