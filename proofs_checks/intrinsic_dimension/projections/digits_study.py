"""Linear models of digits in random subspaces, solved exactly."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.intrinsic_dimension.projections.kinds import KINDS, Case
from sparsetheory.typing import Float64Array, IndexArray

_TRAIN, _CLASSES = 1000, 10
_DIMS = {"quick": (10, 40, 160), "full": (5, 10, 20, 40, 80, 160, 320, 640)}
_REPEATS = {"quick": 1, "full": 5}
_COLUMNS = ("coefficients", *KINDS, "all coefficients")
_NOTES = (
    f"Accuracy on 797 digits after least squares on {_TRAIN} others, for the 640 weights of ten linear functions of 64 "
    "pixels. Coefficients are fitted to the sketched design, without training. Means over {repeats} draws."
)


def _digits() -> tuple[Float64Array, IndexArray]:
    from sparsetheory.gpu.core.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.labels))
    pixels = digits.images.reshape(len(order), -1).astype(float)
    return (pixels - pixels[order[:_TRAIN]].mean(axis=0))[order], digits.labels[order]


def _accuracy(X: Float64Array, y: IndexArray, P: Float64Array) -> float:
    """Fit coefficients of the subspace to one-hot labels, and return the share of new digits that come out right."""
    # Output c of a sample with pixels x, as a function of t, is ``x @ P_c @ t``, with P_c the rows of class c.
    blocks = P.reshape(_CLASSES, X.shape[1], -1)
    design = np.einsum("np,cpd->ncd", X, blocks)
    target = np.eye(_CLASSES)[y] - 1 / _CLASSES
    t = np.linalg.lstsq(design[:_TRAIN].reshape(-1, P.shape[1]), target[:_TRAIN].ravel(), rcond=None)[0]
    return float(((design[_TRAIN:] @ t).argmax(axis=1) == y[_TRAIN:]).mean())


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        dims = [row[0] for row in rows]
        for i, kind in enumerate(KINDS):
            ax.plot(dims, [row[i + 1] for row in rows], marker="o", label=kind)
        ax.plot(dims, [row[-1] for row in rows], color="grey", linestyle="--", label="all coefficients")
        ax.set_xscale("log")
        ax.set_xlabel("dimensions of the subspace, of 640")
        ax.set_ylabel("accuracy on new digits")
        ax.set_title("A linear model of digits in random subspaces")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    X, y = _digits()
    D = X.shape[1] * _CLASSES
    direct = round(_accuracy(X, y, np.eye(D)), 3)
    rows = []
    for d in _DIMS[profile]:
        found = [
            np.mean([_accuracy(X, y, Case(kind, d, D, seed).matrix) for seed in range(_REPEATS[profile])])
            for kind in KINDS
        ]
        rows.append((d, *(round(float(value), 3) for value in found), direct))
    return StudyResult(_COLUMNS, rows, _NOTES.format(repeats=_REPEATS[profile]), _plot(rows))


linear_digits = Study(
    name="intrinsic_dimension.linear_digits",
    title="Linear models in random subspaces",
    description="Ten linear functions tell the digits apart, with all 640 coefficients and with as many as a random "
    "subspace has dimensions, for the three kinds of projections.",
    run=_run,
)
