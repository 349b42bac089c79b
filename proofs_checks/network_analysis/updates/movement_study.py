"""Update sparsity of digits in bfloat16 against the movement of the weights, over learning rates."""

from collections.abc import Callable
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.network_analysis.updates.runs import KINDS, fine_tuning

_RATES = (2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4)
_COLUMNS = ("run", "learning rate", "mean change", "bfloat16, 0", "predicted", "float32, 0", "accuracy")
_NOTES = (
    "Tolerance 0, one seed. Predicted: the share of weights that would stay in place if all of them moved by the mean "
    "change, up or down. Against the movement the three kinds of runs lie close to one curve: rewards change fewer "
    "weights because, at one learning rate, they move weights less."
)


def _row(kind: str, rate: float) -> tuple[Any, ...]:
    import torch

    runs = fine_tuning(0)
    state = runs.run(kind, rate=rate)
    grid = analysis.update_grid(runs.start, state, tols=(0.0,))
    change = grid.report(torch.float32, 0.0).mean_change
    weights = torch.cat([parameter.detach().flatten() for parameter in runs.start.parameters()])
    threshold = analysis.visible_threshold(weights, torch.bfloat16)
    seen = sum(float(threshold.visible(step).double().mean()) for step in (change, -change)) / 2
    shares = grid.report(torch.bfloat16, 0.0).total, 1.0 - seen, grid.report(torch.float32, 0.0).total
    return kind, rate, float(f"{change:.2g}"), *(round(share, 3) for share in shares), round(runs.accuracy(state), 3)


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for kind in KINDS:
            chosen = [row for row in rows if row[0] == kind]
            ax.plot([row[2] for row in chosen], [row[3] for row in chosen], marker="o", label=f"{kind}, bfloat16")
        along = sorted(rows, key=lambda row: row[2])
        ax.plot([row[2] for row in along], [row[4] for row in along], "k--", label="all move by the mean")
        ax.set_xscale("log")
        ax.set_xlabel("mean change of a weight")
        ax.set_ylabel("share of weights that do not change")
        ax.set_title("Update sparsity follows the movement")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows = [_row(kind, rate) for kind in KINDS for rate in _RATES]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


update_movements = Study(
    name="network_analysis.update_movements",
    title="Update sparsity and movement",
    description="The runs of fine-tuning on digits, at learning rates from 2e-6 to 1e-4.",
    run=_run,
)
