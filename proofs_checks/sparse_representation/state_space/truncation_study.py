"""How far outputs are from those of the dense model for four truncations of three kinds of matrices."""

from collections.abc import Callable
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.sparse_representation.state_space.systems import KINDS
from sparsetheory.proofs_checks.sparse_representation.state_space.truncation import Truncations

_SEED, _RANKS = 0, (4, 8, 12)
_WAYS: dict[str, Callable[[Truncations, str], float]] = {
    "paper": lambda one, kind: one.error(kind, "paper"),
    "paper, 2 columns": lambda one, kind: one.error(kind, "paper", n_columns=2),
    "not shifted": lambda one, kind: one.error(kind, "shifted", shift=0.0),
    "shifted": lambda one, kind: one.error(kind, "shifted"),
    "shifted, 2 columns": lambda one, kind: one.error(kind, "shifted", n_columns=2),
}
_COLUMNS = ("matrix", "rank", "of a dense transition", *_WAYS)
_NOTES = (
    "Synthetic systems of 16 states, steps of 0.1, medians of 9. Errors of outputs, relative to the outputs. The form "
    "of the paper truncates the transition from sample to sample, the others the matrix in continuous time. Without a "
    "shift, modes that are dropped do not decay any more. Two columns take the place of two directions. Factors save "
    "numbers only below half the states."
)


def _run(profile: str) -> StudyResult:
    rows = []
    for kind in KINDS:
        for rank in _RANKS:
            truncations = Truncations(_SEED, rank)
            errors = (float(f"{way(truncations, kind):.2g}") for way in _WAYS.values())
            rows.append((kind, rank, 2 * rank / 16, *errors))
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(KINDS), sharey=True)
        for ax, kind in zip(axes, KINDS, strict=True):
            own = [row for row in rows if row[0] == kind]
            for place, name in enumerate(_WAYS, 3):
                # Exact ones would be rounding errors on a logarithmic axis.
                ax.plot([row[1] for row in own], [max(row[place], 1e-3) for row in own], ".-", label=name)
            ax.set_yscale("log")
            ax.set_xlabel("rank")
            ax.set_title(kind, fontsize=10)
        axes[0].set_ylabel("error of outputs, at least 0.001")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=3, fontsize=8)

    return draw


truncations = Study(
    name="sparse_representation.truncations",
    title="Which matrix of a state space model to truncate",
    description="Diagonal, random and shifted low-rank matrices, truncated as transitions from sample to sample or in "
    "continuous time, with and without a shift and whole columns.",
    run=_run,
)
