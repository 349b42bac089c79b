"""Lottery tickets beside the networks that a fair comparison includes, as sources for other digits."""

import copy
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.network_analysis.reprogramming import digits
from sparsetheory.typing import Float64Array

_SEEDS, _DENSITY, _SHOTS = range(4), 0.03, 100
_ROUNDS = digits.DENSITIES[: digits.DENSITIES.index(_DENSITY) + 1]
_MEASURED = ("source accuracy", "head", "head, ECE", "prompt", "prompt, ECE")
_COLUMNS = ("source network", "non-zero weights", "steps of training", *_MEASURED)


def _start(seed: int, share: float = 1.0) -> Any:
    """Return a network at its start, its hidden layers a share as wide."""
    return core.models.MLP(digits.widths(share), generator=seed)


def _trained(model: Any, seed: int, n_steps: int, masks: Any = None) -> Any:
    """Train a network on the source task, on its masks."""
    import torch

    x, y = digits.Source(seed).training()[:2]
    adam = torch.optim.Adam(model.parameters(), lr=digits.LR)
    if masks is not None:
        masks.apply(model)
        core.UpdateGate(adam, (~masks).by_parameter(model))
    with one_thread():
        core.train(model, x, y, optimizer=adam, n_steps=n_steps, batch_size=digits.BATCH, generator=seed)
    return model


def _random(seed: int, densities: Any, draw: int = 0) -> Any:
    model = _start(seed)
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters() if weight.ndim == 2}
    masks = core.random_masks(shapes, densities(shapes, _DENSITY), 1000 * draw + seed)
    return _trained(model, seed, digits.N_STEPS, masks)


def _best_random(seed: int) -> Any:
    """Return the best on the source task of as many random masks as pruning had rounds."""
    drawn = [_random(seed, core.erk_densities, draw) for draw in range(len(_ROUNDS))]
    return max(drawn, key=digits.Source(seed).accuracy)


def _once(seed: int, dense: Any) -> Any:
    """Prune the trained dense network at once, and train as long as the last round."""
    model = copy.deepcopy(dense)
    found = {name: weight for name, weight in model.named_parameters() if weight.ndim == 2}
    return _trained(model, seed, digits.N_STEPS, weights.one_shot_masks(found, 1.0 - _DENSITY))


def _sources(seed: int) -> dict[str, tuple[Any, int]]:
    """Return networks for the source task and their steps of training, under the names of peers."""
    tickets = {ticket.density: ticket.model for ticket in digits.Source(seed).tickets()}
    dense, steps = tickets[1.0], digits.N_STEPS
    # Weights and operations of a plain network fall together, with the product of two widths.
    share = digits.share_of(_DENSITY)
    equal_training = round(steps * sum(_ROUNDS))
    return {
        "method": (tickets[_DENSITY], steps * len(_ROUNDS)),
        "dense": (dense, steps),
        "dense_equal_parameters": (_trained(_start(seed, share), seed, steps), steps),
        "dense_equal_flops": (_trained(_start(seed, share), seed, steps * len(_ROUNDS)), steps * len(_ROUNDS)),
        "dense_equal_training": (_trained(_start(seed), seed, equal_training), equal_training),
        "random_uniform": (_random(seed, core.uniform_densities), steps),
        "random_erk": (_random(seed, core.erk_densities), steps),
        "magnitude": (_once(seed, dense), 2 * steps),
        "random_search": (_best_random(seed), steps * len(_ROUNDS)),
    }


_TITLES = {
    "method": "ticket",
    "dense": "dense",
    "dense_equal_parameters": "narrow, as many weights",
    "dense_equal_flops": "narrow, as many weights and steps",
    "dense_equal_training": "dense, as many operations of training",
    "random_uniform": "random masks, equal densities",
    "random_erk": "random masks, ERK",
    "magnitude": "pruned at once",
    "random_search": "best of random masks, ERK",
}


def _measured(seed: int, model: Any) -> list[float]:
    task = digits.Target(seed, model, _SHOTS)
    probe, prompt = task.probe, task.prompt
    return [digits.Source(seed).accuracy(model), probe.accuracy, probe.ece, prompt.accuracy, prompt.ece]


def _rows() -> tuple[list[tuple[Any, ...]], dict[str, Float64Array]]:
    sources = [_sources(seed) for seed in _SEEDS]
    table = {
        name: np.array([_measured(seed, found[name][0]) for seed, found in zip(_SEEDS, sources, strict=True)])
        for name in _TITLES
    }
    rows = []
    for name, title in _TITLES.items():
        model, steps = sources[0][name]
        kept = core.MaskSet.of(model).n_nonzero
        rows.append((title, kept, steps, *(round(float(mean), 4) for mean in table[name].mean(axis=0))))
    return rows, table


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, 2, sharey=True)
        places = np.arange(len(rows))
        for ax, measures, label in zip(
            axes,
            (("head", "prompt"), ("head, ECE", "prompt, ECE")),
            ("accuracy on digits 6 to 9", "calibration error"),
            strict=True,
        ):
            for measure, marker, color in zip(measures, "os", ("C0", "C2"), strict=True):
                ax.plot([row[_COLUMNS.index(measure)] for row in rows], places, marker, color=color, label=measure)
            ax.set_xlabel(label)
        axes[0].set_yticks(places, [row[0] for row in rows])
        axes[0].invert_yaxis()
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)

    return draw


def _taxonomy() -> core.Taxonomy:
    """Return what kind of training the masks of all rounds show."""
    tickets = digits.Source(0).tickets()[: len(_ROUNDS)]
    changes = [(i * digits.N_STEPS, ticket.masks.digest(), ticket.masks.density) for i, ticket in enumerate(tickets)]
    return core.taxonomy_of([*changes, (len(tickets) * digits.N_STEPS, *changes[-1][1:])])


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows, table = _rows()
    heads = {name: [float(score) for score in found[:, 1]] for name, found in table.items()}
    core.check_claim({**heads, "density_of": "masked"})
    kind, ticket = _taxonomy(), digits.Source(0).tickets()[len(_ROUNDS) - 1]
    report = core.sparsity_report(ticket.model, ticket.masks)
    used = sum(layer.n_effective for layer in report.layers) / sum(layer.n_nonzero for layer in report.layers)
    notes = (
        f"Means of {len(_SEEDS)} seeds, {_SHOTS} samples of a class; density {report.density:.3g} of the masked "
        f"weights and {report.overall_density:.3g} of all parameters. Pruning with rewinding counts as {kind.kind} "
        f"from a {kind.start} start; {used:.3f} of the weights that the ticket keeps lie on a path from an input to an "
        "output."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


ticket_peers = Study(
    name="network_analysis.ticket_peers",
    title="Lottery tickets and their peers as source networks",
    description="At one density a ticket is compared with dense, narrow, randomly masked and once pruned networks: a "
    "new head, or a border and a label map, for the digits 6 to 9.",
    run=_run,
)
