"""Networks under random masks on two sets of pictures: how far they stay behind dense ones, by width."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.weight_structure.sparse_digits import (
    DIGITS,
    MNIST,
    N_NETWORKS,
    RULES,
    Pictures,
    accuracies,
)
from sparsetheory.typing import Float64Array

_TITLES = {DIGITS: "digits, 8 x 8", MNIST: "MNIST, 28 x 28"}
_WIDTHS = (16, 64, 256)
_COLUMNS = (
    "pictures",
    "density",
    "width",
    *RULES,
    "dense - er",
    "standard error",
    "er - uniform",
    "standard error, er - uniform",
)


def _difference(of: Float64Array, off: Float64Array) -> tuple[float, float]:
    """Return the mean difference of networks that share their starts, and its standard error."""
    found = of - off
    return round(float(found.mean()), 4), round(float(found.std(ddof=1) / len(found) ** 0.5), 4)


def _row(pictures: Pictures, width: int) -> tuple[Any, ...]:
    found = accuracies(width, pictures)
    dense, er, uniform = (found[rule] for rule in RULES)
    means = (round(float(found[rule].mean()), 4) for rule in RULES)
    return (
        _TITLES[pictures],
        pictures.density,
        width,
        *means,
        *_difference(dense, er),
        *_difference(er, uniform),
    )


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for index, title in enumerate(dict.fromkeys(row[0] for row in rows)):
            chosen = [row for row in rows if row[0] == title]
            widths = [row[2] for row in chosen]
            for column, line in ((4, "o-"), (5, "s--")):
                gaps = [row[3] - row[column] for row in chosen]
                label = f"{title}, density {chosen[0][1]:g}, {'Erdős-Rényi' if column == 4 else 'equal densities'}"
                ax.plot(widths, gaps, line, color=f"C{index}", label=label)
        ax.axhline(0, color="0.4", linewidth=0.8)
        ax.set_xscale("log", base=2)
        ax.set_xticks(np.unique([row[2] for row in rows]), np.unique([row[2] for row in rows]))
        ax.set_xlabel("units of each of two hidden layers")
        ax.set_ylabel("accuracy of dense networks minus sparse")
        ax.set_title("Random masks from the start of training")
        ax.legend(fontsize=8)

    return draw


def _notes(rows: list[tuple[Any, ...]]) -> str:
    gaps = "; ".join(
        f"{title}: " + ", ".join(f"{row[6]:+.3f} at width {row[2]}" for row in rows if row[0] == title)
        for title in _TITLES.values()
    )
    return (
        f"Means of {N_NETWORKS} networks with the same starts under each rule; masks are drawn once and stay. Gap of "
        f"dense networks to Erdős-Rényi masks: {gaps}."
    )


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows = [_row(pictures, width) for pictures in _TITLES for width in _WIDTHS]
    return StudyResult(_COLUMNS, rows, _notes(rows), _plot(rows))


random_masks = Study(
    name="weight_structure.random_masks",
    title="Random masks on small and larger pictures of digits",
    description="Networks of two hidden layers are trained under fixed random masks with Erdős-Rényi or equal "
    "densities, and dense, on the digits of scikit-learn and on 5000 digits of MNIST.",
    run=_run,
)
