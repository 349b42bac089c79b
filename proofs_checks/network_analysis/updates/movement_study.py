"""Update sparsity of digits in bfloat16 against the movement of the weights, over learning rates."""

from collections.abc import Callable
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.network_analysis.updates.runs import KINDS, fine_tuning

_RATES = (2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4)
_COLUMNS = ("run", "learning rate", "mean change", "bfloat16, 0", "shuffled", "float32, 0", "accuracy")
_NOTES = (
    "Tolerance 0, one seed. Shuffled: the share of weights that would not change if the movements within each tensor "
    "were dealt out at random: which weights move does not depend on their size. Against the movement rewards and "
    "labels lie on one curve: rewards change fewer weights because, at one learning rate, they move weights less. "
    "Shifted labels lie below: how far they move weights differs less."
)


def _shuffled(before: Any, after: Any) -> float:
    """Return the share of weights that shuffled movements leave as they are in bfloat16."""
    import torch

    generator, unseen = torch.Generator().manual_seed(0), []
    for start, end in zip(before.parameters(), after.parameters(), strict=True):
        movement = (end.detach().double() - start.detach().double()).flatten()
        dealt = movement[torch.randperm(len(movement), generator=generator)]
        unseen.append(~analysis.visible_threshold(start.detach().flatten(), torch.bfloat16).visible(dealt))
    return float(torch.cat(unseen).double().mean())


def _row(kind: str, rate: float) -> tuple[Any, ...]:
    import torch

    runs = fine_tuning(0)
    state = runs.run(kind, rate=rate)
    grid = analysis.update_grid(runs.start, state, tols=(0.0,))
    single, half = grid.report(torch.float32, 0.0), grid.report(torch.bfloat16, 0.0)
    shares = half.total, _shuffled(runs.start, state), single.total, runs.accuracy(state)
    return kind, rate, float(f"{single.mean_change:.2g}"), *(round(share, 3) for share in shares)


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for kind in KINDS:
            chosen = [row for row in rows if row[0] == kind]
            ax.plot([row[2] for row in chosen], [row[3] for row in chosen], marker="o", label=kind)
            label = "movements shuffled" if kind == KINDS[-1] else None
            ax.plot([row[2] for row in chosen], [row[4] for row in chosen], "k:", lw=1, label=label)
        ax.set_xscale("log")
        ax.set_xlabel("mean change of a weight")
        ax.set_ylabel("share of weights that do not change")
        ax.set_title("Update sparsity in bfloat16 follows the movement")
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
