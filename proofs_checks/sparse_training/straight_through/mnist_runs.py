"""How much masks change on MNIST: networks that are trained at 1:4 with several penalties."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.sparse_training.straight_through.training_runs import with_penalty

_PENALTIES = (-2e-3, 0.0, 2e-4, 2e-3, 1e-2)
_EPOCHS, _LATE = 40, 10
_PICTURES = {"load_digits": "digits, 8 x 8", "load_mnist_5k": "MNIST, 28 x 28"}
_COLUMNS = ("pictures", "penalty", "mask changes", f"in the last {_LATE} epochs", "accuracy", "s.d.", "ordered seeds")


def _row(loader: str, penalty: float, before: Any) -> tuple[Any, ...]:
    """Return the means over seeds, and in how many of them masks change less than with the penalty before."""
    run = with_penalty(penalty, _EPOCHS, loader)
    total, late = run.changes.sum(0), run.changes[-_LATE:].sum(0)
    ordered = "" if before is None else f"{int((total < before).sum())} of {len(total)}"
    accuracy = run.accuracy
    return (
        _PICTURES[loader],
        penalty,
        round(float(total.mean()), 4),
        round(float(late.mean()), 5),
        round(float(accuracy.mean()), 4),
        round(float(accuracy.std(ddof=1)), 4),
        ordered,
    )


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        for i, (column, label) in enumerate(((2, "mask changes per weight"), (4, "accuracy on other pictures"))):
            ax = figure.add_subplot(1, 2, i + 1)
            for title in _PICTURES.values():
                chosen = [row for row in rows if row[0] == title]
                ax.plot(np.arange(len(chosen)), [row[column] for row in chosen], "o-", label=title)
            ax.set_xticks(np.arange(len(_PENALTIES)), [f"{penalty:g}" for penalty in _PENALTIES])
            ax.set_xlabel("penalty of SR-STE")
            ax.set_ylabel(label)
            if column == 2:
                ax.set_yscale("log")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows = []
    for loader in _PICTURES:
        before = None
        for penalty in _PENALTIES:
            rows.append(_row(loader, penalty, before))
            before = with_penalty(penalty, _EPOCHS, loader).changes.sum(0)
    notes = (
        f"Networks with 128, 128 and 10 units on 1000 pictures, the first two layers at 1:4, {_EPOCHS} epochs. Mask "
        "changes are entries per weight over all epochs; the last column counts seeds in which they are fewer than "
        "with the penalty above. A negative penalty pushes dropped weights away from zero."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


mnist_masks = Study(
    name="sparse_training.mnist_masks",
    title="The penalty of SR-STE on small and larger pictures of digits",
    description="Eight seeds each of a perceptron with two sparse layers are trained straight through with several "
    "penalties on the digits of scikit-learn and on 1000 digits of MNIST: how often masks change, and the accuracy.",
    run=_run,
)
