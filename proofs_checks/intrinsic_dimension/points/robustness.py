"""Claims about sharp labels and attacks on a linear classifier, on pairs of handwritten digits."""

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from sparsetheory.gpu import core, dimension
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source, Sweep
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["PAIRS", "attacked_pairs", "correlation", "digit_pairs", "published_sharpness", "sharpness_of_pairs"]

PAIRS = tuple(combinations(range(10), 2))
_SIZE = 0.1
# The least rank correlation by the side of the pictures: the nearest of many more pixels and pairs says less.
_LEAST = {8: 0.45, 28: 0.0}


def digit_pairs(images: Float64Array, labels: Int64Array) -> list[tuple[Float64Array, Int64Array]]:
    """Return points and classes 0 and 1 of all pairs of digits."""
    X = images.reshape(len(images), -1).astype(np.float64)
    chosen = [(np.isin(labels, pair), pair) for pair in PAIRS]
    return [(X[rows], (labels[rows] == pair[1]).astype(np.int64)) for rows, pair in chosen]


@cache
def _pairs(side: int) -> list[tuple[Float64Array, Int64Array]]:
    """Return the pairs of scikit-learn's digits, which have a side of 8 pixels, or of MNIST, which have 28."""
    stored = core.datasets.load_digits() if side == 8 else core.datasets.load_mnist_5k()
    return digit_pairs(np.asarray(stored.images, dtype=np.float64), stored.labels)


def sharpness_of_pairs(pairs: list[tuple[Float64Array, Int64Array]]) -> list[float]:
    """Return the sharpness of each pair, over all of its points."""
    return [dimension.label_sharpness(X, y).value for X, y in pairs]


@cache
def _sharpness(side: int) -> list[float]:
    return sharpness_of_pairs(_pairs(side))


def published_sharpness(X: Float64Array, y: Int64Array, rng: np.random.Generator) -> float:
    """Return what the published function computes: points of one label, side by side in two orders of the data."""
    first, second = rng.permutation(len(X)), rng.permutation(len(X))
    distances = np.linalg.norm(X[first] - X[second], axis=1)
    return float((1 / distances[(y[first] == y[second]) & (distances > 0)]).max())


def attacked_pairs(
    pairs: list[tuple[Float64Array, Int64Array]], size: float, seed: int, n_train: int = 200
) -> tuple[list[float], list[float]]:
    """Return by how much an attack lowers the accuracy of a classifier of each pair, and its test loss.

    Every coordinate moves by `size` against the class, which is the worst move for a linear classifier.
    """
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    drops, losses = [], []
    for X, y in pairs:
        order = rng.permutation(len(X))
        train, test = order[:n_train], order[n_train:]
        model = LogisticRegression(C=10.0, max_iter=1000).fit(X[train], y[train])
        margin = np.where(y[test] == 1, 1.0, -1.0) * model.decision_function(X[test])
        drops.append(float((margin > 0).mean() - (margin > size * np.abs(model.coef_).sum()).mean()))
        losses.append(float(np.logaddexp(0.0, -margin).mean()))
    return drops, losses


def correlation(first: list[float], second: list[float]) -> float:
    """Return the rank correlation of Spearman."""
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


@dataclass(frozen=True)
class Attack:
    """A seed, and the side of the pictures."""

    seed: int
    side: int


def _correlated(case: Attack) -> Measurement:
    """Compare the rank correlation of sharpness with the fall of accuracy with the least one that is accepted."""
    drops, losses = attacked_pairs(_pairs(case.side), _SIZE, case.seed)
    extras = {"with the test loss": correlation(_sharpness(case.side), losses)}
    return Measurement(_LEAST[case.side], correlation(_sharpness(case.side), drops), scale=1.0, extras=extras)


def _published(case: Attack) -> Measurement:
    """Take the published function in place of the sharpness."""
    rng, pairs = np.random.default_rng(case.seed), _pairs(case.side)
    drops, _ = attacked_pairs(pairs, _SIZE, case.seed)
    found = correlation([published_sharpness(X, y, rng) for X, y in pairs], drops)
    return Measurement(_LEAST[case.side], found, scale=1.0)


sharp_labels_are_fragile = Claim(
    name="intrinsic_dimension.sharp_labels_are_fragile",
    summary="The sharper the labels of two digits, the more accuracy an attack takes from a linear classifier.",
    statement=r"\rho_{\mathrm{Spearman}}(K, \mathrm{acc} - \mathrm{acc}_{\mathrm{attacked}}) \ge 0.45"
    r" \text{ over } 45 \text{ pairs of } 8 \times 8 \text{ digits}, \; > 0 \text{ for } 28 \times 28",
    source=Source.measured(
        "logistic regression on 200 points of a pair, all pixels moved by 0.1; published for images in arXiv 2401.08865"
    ),
    verdict=WithProbability(0.9, margin=0.5),
    evaluate=_correlated,
    near_miss=_published,
    sweep=Sweep(
        axis="side of the pictures of digits",
        values=(8, 28),
        draw=lambda rng, side: Attack(int(rng.integers(2**31)), int(side)),
        trials=12,
        quick_trials=6,
        quick_values=(8,),
        measured_label="accepted",
        bound_label="rank correlation of sharpness with the fall of accuracy",
        y_label="rank correlation",
    ),
)


@dataclass(frozen=True)
class Flips:
    """A seed, and the share of labels that are wrong."""

    seed: int
    share: float


def _flipped(case: Flips) -> Measurement:
    """Compare the sharpness of the digits 0 and 1 with right and with wrong labels; more flips contain fewer."""
    X, y = _pairs(8)[0]
    wrong = y.copy()
    flipped = np.random.default_rng(case.seed).permutation(len(y))[: round(case.share * len(y))]
    wrong[flipped] = 1 - wrong[flipped]
    before, after = (dimension.label_sharpness(X, labels).value for labels in (y, wrong))
    # Strictly sharper, by more than rounding.
    return Measurement(1.05 * before, after)


label_flips = Claim(
    name="intrinsic_dimension.label_flips",
    summary="Wrong labels make labels sharper than they were.",
    statement=r"K(X, y_{\mathrm{flipped}}) > K(X, y)",
    source=Source.measured("the digits 0 and 1; more flips need not be sharper than fewer"),
    verdict=WithProbability(0.9, margin=0.5),
    evaluate=_flipped,
    near_miss=Reversed(),
    sweep=Sweep(
        axis="share of labels that are wrong",
        values=(0.02, 0.1, 0.3),
        draw=lambda rng, share: Flips(int(rng.integers(2**31)), share),
        trials=20,
        quick_trials=6,
        log="x",
        measured_label="1.05 times the sharpness of the right labels",
        bound_label="sharpness",
        y_label="sharpness",
    ),
)
