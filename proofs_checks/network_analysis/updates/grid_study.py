"""Update sparsity of digits on a grid of tolerances and precisions, next to movements and ranks."""

from collections.abc import Callable
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.network_analysis.updates.adapters import adapted
from sparsetheory.proofs_checks.network_analysis.updates.runs import KINDS, RATE, fine_tuning

__all__ = ["fine_tuned_states"]

_RANK = 4
_TOLS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3)
_SHOWN = (
    ("bfloat16", 0.0),
    ("bfloat16", 1e-5),
    ("bfloat16", 1e-3),
    ("float32", 0.0),
    ("float32", 1e-5),
    ("float32", 1e-3),
)
_COLUMNS = (
    "run",
    "accuracy",
    "mean change",
    "movement",
    *(f"{dtype}, {tol:g}" for dtype, tol in _SHOWN),
    "rank",
    "random rank",
    "directions of 99 %",
)
_NOTES = (
    "One seed; shares of weights that do not change by more than a tolerance. Ranks are those of the 128 x 128 matrix "
    "in bfloat16, of a random one of as many entries, and the number of directions that hold 99 % of the squared "
    "change. The order of the runs in bfloat16 is that of their movements. In float32 nearly all that is left are the "
    "weights of dead pixels and units, which never move; adapters mix inputs, and move some of these too. Their change "
    "has rank 4 before rounding, and as full a rank as the others after it."
)


def fine_tuned_states() -> dict[str, Any]:
    """Return networks after fine-tuning, by what was done."""
    runs = fine_tuning(0)
    states = {f"{kind}, run {order + 1}": runs.run(kind, order) for kind in KINDS[:1] for order in (0, 1)}
    states |= {kind: runs.run(kind) for kind in KINDS[1:]}
    return states | {f"labels, adapters of rank {_RANK}": adapted(runs, _RANK, 10 * RATE)}


def _grid(state: Any) -> Any:
    import torch

    return analysis.update_grid(fine_tuning(0).start, state, _TOLS, (torch.float32, torch.bfloat16))


def _row(name: str, state: Any, grid: Any) -> tuple[Any, ...]:
    import torch

    runs = fine_tuning(0)
    plain = grid.report(torch.float32, 0.0)
    shares = [round(grid.report(getattr(torch, dtype), tol).total, 3) for dtype, tol in _SHOWN]
    ranks = analysis.update_rank(runs.start, state, dtype=torch.bfloat16)
    (hidden,) = [matrix for matrix in ranks.matrices if matrix.shape == (128, 128)]
    moved = float(f"{plain.mean_change:.2g}"), float(f"{plain.movement:.2g}")
    found = hidden.rank, hidden.random_rank, hidden.energy_rank
    return name, round(runs.accuracy(state), 3), *moved, *shares, *found


def _plot(grids: dict[str, Any]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, 2, sharey=True)
        for ax, dtype in zip(axes, ("bfloat16", "float32"), strict=True):
            for name, grid in grids.items():
                reports = [report for report in grid.reports if str(report.dtype) == f"torch.{dtype}"]
                # Zero has no place on a logarithmic axis; it stands left of the others.
                places = [report.tol or 1e-7 for report in reports]
                ax.plot(places, [report.total for report in reports], marker="o", markersize=3, label=name)
            ax.set_xscale("log")
            ax.set_xticks([1e-7, 1e-6, 1e-5, 1e-4, 1e-3], ["0", "1e-6", "1e-5", "1e-4", "1e-3"])
            ax.set_xlabel("tolerance")
            ax.set_title(dtype)
        axes[0].set_ylabel("share of weights that do not change")
        axes[0].legend(fontsize=7)

    return draw


def _run(profile: str) -> StudyResult:
    states = fine_tuned_states()
    grids = {name: _grid(state) for name, state in states.items()}
    rows = [_row(name, state, grids[name]) for name, state in states.items()]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(grids))


update_grids = Study(
    name="network_analysis.update_grids",
    title="Update sparsity by tolerance and precision",
    description="A network for digits is fine-tuned from one start by rewards for sampled answers, by labels, by "
    "labels that are all one class further, and by labels through low-rank adapters.",
    run=_run,
)
