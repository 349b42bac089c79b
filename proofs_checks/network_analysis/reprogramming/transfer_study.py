"""The table of reprogramming: dense networks and their tickets, few and many samples, heads, prompts and peers."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.network_analysis.reprogramming import digits
from sparsetheory.typing import Float64Array

_SEEDS = range(8)
# What the quick profile takes of seeds, densities and numbers of samples.
_QUICK = range(1), (1.0, 0.01), digits.SHOTS[:1]
_TUNING_STEPS, _TUNING_LR = 150, 1e-3
_MEASURED = (
    "source accuracy",
    "head",
    "all weights",
    "prompt",
    "prompt, assignment",
    "prompt, random map",
    "head, ECE",
    "prompt, ECE",
)
_COLUMNS = (
    "density",
    "samples of a class",
    *_MEASURED,
    "head - dense",
    "standard error, head",
    "prompt - dense",
    "standard error, prompt",
    "training operations / dense",
)


def _tuned(task: digits.Target, masks: Any) -> float:
    """Train a new head and all weights on the masks; return the accuracy."""
    import torch

    x, y, rest, labels = task.data
    model = copy.deepcopy(task.model)
    head = str(len(model) - 1)
    model[-1] = torch.nn.Linear(model[-1].in_features, int(y.max()) + 1)
    torch.nn.init.zeros_(model[-1].weight)
    torch.nn.init.zeros_(model[-1].bias)
    adam = torch.optim.Adam(model.parameters(), lr=_TUNING_LR)
    body = {name: ~mask for name, mask in masks.items() if not name.startswith(f"{head}.")}
    gate = core.UpdateGate(adam, core.MaskSet(body).by_parameter(model))
    with one_thread():
        core.train(model, digits.on_canvas(x), y, optimizer=adam, n_steps=_TUNING_STEPS)
    gate.remove()
    with torch.no_grad():
        return core.accuracy(model(digits.on_canvas(rest)), labels)


def _random_map(seed: int) -> Any:
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(digits.N_CLASSES, generator=generator)[: 10 - digits.N_CLASSES]


def _measured(seed: int, ticket: Any, shots: int) -> list[float]:
    task = digits.Target(seed, ticket.model, shots)
    return [
        digits.Source(seed).accuracy(ticket.model),
        task.probe.accuracy,
        _tuned(task, ticket.masks),
        task.prompt.accuracy,
        task.prompted(method="assignment")[0].accuracy,
        task.prompted(label_map=_random_map(seed))[0].accuracy,
        task.probe.ece,
        task.prompt.ece,
    ]


def _tables(seeds: range, densities: tuple[float, ...], all_shots: tuple[int, ...]) -> Float64Array:
    """Return measured numbers by seed, density, number of samples and kind."""
    return np.array(
        [
            [
                [_measured(seed, ticket, shots) for shots in all_shots]
                for ticket in digits.Source(seed).tickets()
                if ticket.density in densities
            ]
            for seed in seeds
        ]
    )


def _training() -> dict[float, float]:
    """Return the operations of all rounds up to each density, as a share of one dense training."""
    tickets, x = digits.Source(0).tickets(), digits.Source(0).training()[0][:1]
    counts = [core.count_flops(ticket.model, x, ticket.masks) for ticket in tickets]
    path = [float(count.sparse_flops) for count in counts]
    dense = core.training_flops("dense", path[0], path[0], digits.N_STEPS).total
    return {
        ticket.density: core.training_flops("imp", path[0], path[i], digits.N_STEPS, path=path[: i + 1]).total / dense
        for i, ticket in enumerate(tickets)
    }


def _change(found: Float64Array) -> tuple[float, float]:
    """Return the mean difference of seeds, and its standard error."""
    error = found.std(ddof=1) / len(found) ** 0.5 if len(found) > 1 else float("nan")
    return round(float(found.mean()), 4), round(float(error), 4)


def _rows(table: Float64Array, densities: tuple[float, ...], all_shots: tuple[int, ...]) -> list[tuple[Any, ...]]:
    costs, head, prompt = _training(), _MEASURED.index("head"), _MEASURED.index("prompt")
    return [
        (
            density,
            shots,
            *(round(float(mean), 4) for mean in table[:, i, j].mean(axis=0)),
            *_change(table[:, i, j, head] - table[:, 0, j, head]),
            *_change(table[:, i, j, prompt] - table[:, 0, j, prompt]),
            round(costs[density], 3),
        )
        for i, density in enumerate(densities)
        for j, shots in enumerate(all_shots)
    ]


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    all_shots = list(dict.fromkeys(row[1] for row in rows))
    lines = dict(zip(digits.SHOTS, ("o--", "s-"), strict=True))
    colors = {"head": "C0", "all weights": "C1", "prompt": "C2", "prompt, random map": "C3"}

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for ax, kinds, ending in ((left, colors, ""), (right, ("head", "prompt"), ", ECE")):
            for kind in kinds:
                for shots in all_shots:
                    chosen = [row for row in rows if row[1] == shots]
                    values = [row[_COLUMNS.index(kind + ending)] for row in chosen]
                    label = f"{kind}; {shots} samples of a class"
                    ax.plot([row[0] for row in chosen], values, lines[shots], color=colors[kind], label=label)
            ax.set_xscale("log")
            ax.set_xlabel("density of the source network")
        left.set_ylabel("accuracy on digits 6 to 9")
        right.set_ylabel("expected calibration error")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncol=2, fontsize=7)

    return draw


def _notes(rows: list[tuple[Any, ...]], n_seeds: int) -> str:
    head, prompt = _COLUMNS.index("head - dense"), _COLUMNS.index("prompt - dense")
    gain = np.mean([row[_COLUMNS.index("prompt, assignment")] - row[_COLUMNS.index("prompt")] for row in rows])
    sparsest = "; ".join(
        f"{row[1]} samples of a class: head {row[head]:+.3f}, prompt {row[prompt]:+.3f}"
        for row in rows
        if row[0] == rows[-1][0]
    )
    return (
        f"Seeds: {n_seeds}. Accuracy at density {rows[-1][0]:g} against dense, {sparsest}. Label maps by assignment "
        f"instead of greedy choices: {gain:+.3f} on the mean. Operations are those of all rounds of training and "
        "pruning, relative to one dense training."
    )


def _run(profile: str) -> StudyResult:
    seeds, densities, all_shots = _QUICK if profile == "quick" else (_SEEDS, digits.DENSITIES, digits.SHOTS)
    rows = _rows(_tables(seeds, densities, all_shots), densities, all_shots)
    return StudyResult(_COLUMNS, rows, _notes(rows, len(seeds)), _plot(rows))


reprogrammed_tickets = Study(
    name="network_analysis.reprogrammed_tickets",
    title="Lottery tickets for other digits",
    description="Networks for the digits 0 to 5, dense and pruned by magnitude with rewinding, serve for the digits 6 "
    "to 9: by a new linear head, by training all weights that are left, or by a trained border around the image and a "
    "map of labels.",
    run=_run,
)
