"""What a run of rewards changes, compared with other sets of weights: overlaps, and training of the set alone."""

from collections.abc import Callable
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis, core
from sparsetheory.proofs_checks.network_analysis.updates.runs import KINDS, fine_tuning, random_sets

_COLUMNS = (
    "weights that may move",
    "share",
    "overlap",
    "chance",
    "gain",
    "distance",
    "same answers",
    "same in bfloat16",
)
_NOTES = (
    "Overlap: share of the set that a second run of rewards changes too. The last columns train the set alone by the "
    "same rewards, and compare with the full run: gain in the mean probability of the right class on the training "
    "digits, distance relative to the movement of the full run, and answers on other digits and bfloat16 weights that "
    "are the same. Answers do not tell sets apart: before any fine-tuning {before:.3f} of them are those of the full "
    "run. Gain and distance do."
)


def _sets() -> dict[str, Any]:
    """Return the sets of weights by name, the first one that of the run."""
    import torch

    runs = fine_tuning(0)
    own = analysis.update_mask(runs.start, runs.run(KINDS[0]), dtype=torch.bfloat16)
    parameters = dict(runs.start.named_parameters())
    sizes = torch.cat([parameter.detach().abs().flatten() for parameter in parameters.values()])
    # A stable order takes exactly as many, whatever ties.
    smallest = torch.zeros_like(sizes, dtype=torch.bool)
    smallest[sizes.argsort(stable=True)[: own.n_nonzero]] = True
    parts = smallest.split([parameter.numel() for parameter in parameters.values()])
    return {
        "those of the run": own,
        "those of a run by labels": analysis.update_mask(runs.start, runs.run(KINDS[1]), dtype=torch.bfloat16),
        "the smallest": core.MaskSet(
            {name: part.view(parameters[name].shape) for name, part in zip(parameters, parts, strict=True)}
        ),
        "random, as many in each tensor": core.MaskSet(random_sets(own, 0)),
        "all others": ~own,
    }


def _row(name: str, masks: Any, second: Any) -> tuple[Any, ...]:
    import torch

    runs = fine_tuning(0)
    full = runs.run(KINDS[0])
    alone = runs.subnetwork(KINDS[0], masks)
    found = analysis.overlap(masks, second)
    moved = [analysis.update_sparsity(full, other, tol=0.0) for other in (alone, runs.start)]
    weights = analysis.update_sparsity(full, alone, tol=0.0, dtype=torch.bfloat16).total
    distance = moved[0].mean_change / moved[1].mean_change
    shares = masks.density, found.o1, found.chance1, runs.gain(alone, full), distance
    return name, *(round(share, 3) for share in (*shares, runs.agreement(alone, full), weights))


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        places = range(len(rows))
        ax.barh([place - 0.2 for place in places], [row[2] for row in rows], 0.4, label="overlap with a second run")
        ax.barh([place + 0.2 for place in places], [row[3] for row in rows], 0.4, label="chance")
        ax.set_yticks(list(places), [row[0] for row in rows])
        ax.invert_yaxis()
        ax.set_xlabel("share of the set")
        ax.set_title("Weights that two runs of rewards change")
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=2)

    return draw


def _run(profile: str) -> StudyResult:
    import torch

    runs = fine_tuning(0)
    second = analysis.update_mask(runs.start, runs.run(KINDS[0], 1), dtype=torch.bfloat16)
    rows = [_row(name, masks, second) for name, masks in _sets().items()]
    return StudyResult(
        _COLUMNS, rows, _NOTES.format(before=runs.agreement(runs.start, runs.run(KINDS[0]))), _plot(rows)
    )


update_peers = Study(
    name="network_analysis.update_peers",
    title="Subnetworks of an update and their peers",
    description="Weights that fine-tuning by rewards changes in bfloat16, on digits, against those of a run by labels, "
    "the smallest ones, random ones, and all others.",
    run=_run,
)
