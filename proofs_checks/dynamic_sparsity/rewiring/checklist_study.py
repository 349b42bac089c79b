"""Ways to train a sparse network on digits, with everything that a claim about one of them has to be compared with."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, dynamic, search
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

_SIZES, _DENSITY = (64, 128, 128, 10), 0.05
_TRAIN, _BATCH, _STEPS, _EVERY, _SEEDS = 1200, 32, 600, 20, 5
_COLUMNS = (
    "way",
    "kind",
    "masks changed",
    "density of masked tensors",
    "density of all parameters",
    "share ever active",
    "FLOPs of a sample / dense",
    "FLOPs of training / dense",
    "accuracy",
    "standard deviation",
)


@dataclass(frozen=True)
class _Way:
    """How masks are drawn and changed, and which count of operations applies.

    Parameters
    ----------
    grow : str, optional
        Score by which entries enter; without it masks stay.
    training : str
        Kind for :func:`training_flops`.
    densities : str
        "erk" or "uniform".
    """

    grow: str | None
    training: str
    densities: str = "erk"


_WAYS = {
    "random_erk": _Way(None, "static"),
    "random_uniform": _Way(None, "static", "uniform"),
    "SET": _Way("random", "set"),
    "ITOP": _Way("unfired", "set"),
    "RigL": _Way("gradient", "rigl"),
    "momentum": _Way("momentum", "dense_gradient"),
}


@dataclass(frozen=True)
class _Found:
    """One run: its report, its operations of training relative to dense training, and the accuracy."""

    report: Any
    training: float
    accuracy: float


def _digits(seed: int) -> tuple[Any, Any, Any, Any]:
    x, y = shuffled_digits(seed)
    return x[:_TRAIN], y[:_TRAIN], x[_TRAIN:], y[_TRAIN:]


def _fit(model: Any, optimizer: Any, seed: int, n_steps: int) -> float:
    """Train, and return the accuracy on other data."""
    import torch

    x, y, x_test, y_test = _digits(seed)
    core.train(model, x, y, optimizer=optimizer, n_steps=n_steps, batch_size=_BATCH, generator=seed)
    with torch.no_grad():
        return core.accuracy(model(x_test), y_test)


def _adam(model: Any) -> Any:
    import torch

    return torch.optim.Adam(model.named_parameters(), lr=3e-3)


def _shapes(model: Any) -> dict[str, Any]:
    return {name: tuple(p.shape) for name, p in model.named_parameters() if p.ndim > 1}


def _masked(way: _Way, seed: int, masks: Any = None) -> _Found:
    """Train under masks from the first step on."""
    model = core.models.MLP(_SIZES, generator=seed)
    shapes = _shapes(model)
    rule = core.erk_densities if way.densities == "erk" else core.uniform_densities
    masks = core.random_masks(shapes, rule(shapes, _DENSITY), seed) if masks is None else masks
    optimizer = _adam(model)
    set_like = way.training == "set"
    controller = core.TopologyController(
        optimizer,
        masks.by_parameter(model),
        drop=dynamic.find_score("magnitude_by_sign" if set_like else "magnitude"),
        grow=dynamic.find_score(way.grow or "random"),
        fraction=0.0 if way.grow is None else 0.3 if set_like else core.Cosine(0.3, total=int(0.75 * _STEPS)),
        every=_EVERY,
        regrown="new" if set_like else "keep",
        start=dynamic.normal_start(0.1) if way.training == "set" else None,
        generator=seed,
    )
    accuracy = _fit(model, optimizer, seed, _STEPS)
    report = core.sparsity_report(model, controller.masks, controller.trajectory, batch=_digits(seed)[0][:8])
    details = {"period": _EVERY} if way.training == "rigl" else {}
    return _Found(report, _cost(report, way.training, **details), accuracy)


def _cost(report: Any, kind: str, n_steps: int = _STEPS, **details: Any) -> float:
    """Return operations of training relative to those of the dense network."""
    flops = report.flops
    dense, sparse = flops.flops / flops.n_samples, flops.sparse_flops / flops.n_samples
    found = core.training_flops(kind, dense, sparse, n_steps, **details)
    return float(found.total / core.training_flops("dense", dense, dense, _STEPS).total)


def _dense(seed: int, n_steps: int = _STEPS, share_of_width: float = 1.0) -> tuple[float, float]:
    """Return the accuracy of a dense network, and its operations of training relative to the wide one."""
    sizes = _narrow(share_of_width)
    model = core.models.MLP(sizes, generator=seed)
    return _fit(model, _adam(model), seed, n_steps), n_steps / _STEPS * _products(sizes) / _products(_SIZES)


def _narrow(share_of_width: float) -> list[int]:
    """Return the sizes of layers of a network whose hidden layers are narrower."""
    return [_SIZES[0], *(max(2, round(share_of_width * size)) for size in _SIZES[1:-1]), _SIZES[-1]]


def _products(sizes: Sequence[int]) -> int:
    return sum(a * b for a, b in pairwise(sizes))


def _pruned(seed: int) -> _Found:
    """Train dense, prune by magnitude, and train the rest for as many steps again."""
    model = core.models.MLP(_SIZES, generator=seed)
    _fit(model, _adam(model), seed, _STEPS)
    weights = [model.get_parameter(name) for name in _shapes(model)]
    kept = core.GlobalPattern(_DENSITY).mask([weight.detach().abs() for weight in weights])
    masks = core.MaskSet(dict(zip(_shapes(model), kept, strict=True)))
    optimizer = _adam(model)
    controller = core.TopologyController(
        optimizer, masks.by_parameter(model), drop=dynamic.magnitude, grow=dynamic.magnitude, fraction=0.0
    )
    accuracy = _fit(model, optimizer, seed + 1000, _STEPS)
    history = [(0, "dense", 1.0), (_STEPS, controller.masks.digest(), masks.density)]
    history.append((2 * _STEPS, controller.masks.digest(), masks.density))
    report = core.sparsity_report(model, controller.masks, history, batch=_digits(seed)[0][:8])
    return _Found(report, 1.0 + _cost(report, "static"), accuracy)


def _searched(seed: int) -> _Found:
    """Train the best of 50 random masks by the loss of the untrained network."""
    model = core.models.MLP(_SIZES, generator=seed)
    shapes = _shapes(model)
    x, y = _digits(seed)[:2]
    found = search.random_mask_search(
        model,
        search.WeightSampler(core.erk_densities(shapes, _DENSITY)),
        lambda masked: core.class_loss(masked(x), y),
        n_candidates=50,
        generator=seed,
    )
    return _masked(_WAYS["random_erk"], seed, found.mask)


def _row(way: str, runs: list[_Found]) -> tuple[Any, ...]:
    report = runs[0].report
    accuracies = [run.accuracy for run in runs]
    flops = report.flops
    return (
        way,
        report.taxonomy.kind,
        report.taxonomy.n_changes,
        round(report.density, 4),
        round(report.overall_density, 4),
        "" if report.taxonomy.explored is None else round(report.taxonomy.explored, 3),
        round(flops.sparse_flops / flops.flops, 4),
        round(float(np.mean([run.training for run in runs])), 4),
        round(float(np.mean(accuracies)), 4),
        round(float(np.std(accuracies, ddof=1)), 4),
    )


def _dense_row(way: str, found: list[tuple[float, float]], flops: float) -> tuple[Any, ...]:
    accuracies = [accuracy for accuracy, _ in found]
    spread = round(float(np.std(accuracies, ddof=1)), 4)
    return (way, "dense", 0, 1.0, 1.0, 1.0, round(flops, 4), round(found[0][1], 4), _mean(accuracies), spread)


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 4)


def _peers(seeds: range, share: float) -> dict[str, tuple[list[tuple[float, float]], float]]:
    """Return the dense peers of a network with a share of the products: their runs, and operations of a sample."""
    width = next(w for w in np.linspace(1.0, 0.0, 257) if _products(_narrow(w)) <= share * _products(_SIZES))
    return {
        "dense": ([_dense(seed) for seed in seeds], 1.0),
        "dense_equal_parameters": ([_dense(seed, share_of_width=float(width)) for seed in seeds], share),
        "dense_equal_training": ([_dense(seed, n_steps=max(1, math.ceil(share * _STEPS))) for seed in seeds], 1.0),
    }


def _results(seeds: range) -> list[tuple[Any, ...]]:
    runs = {name: [_masked(way, seed) for seed in seeds] for name, way in _WAYS.items()}
    runs["magnitude"] = [_pruned(seed) for seed in seeds]
    runs["random_search"] = [_searched(seed) for seed in seeds]
    peers = _peers(seeds, _DENSITY)
    # In a network of linear layers alone, equal parameters are equal operations of a sample.
    scores = {name: [run.accuracy for run in found] for name, found in runs.items()}
    scores |= {name: [accuracy for accuracy, _ in found] for name, (found, _) in peers.items()}
    scores["dense_equal_flops"] = scores["dense_equal_parameters"]
    core.check_claim({**scores, "method": scores["RigL"], "density_of": "masked"})
    rows = [_dense_row(name, found, flops) for name, (found, flops) in peers.items()]
    return rows + [_row(name, found) for name, found in runs.items()]


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        ordered = sorted(rows, key=lambda row: row[8])
        for place, row in enumerate(ordered):
            dense = row[1] == "dense"
            ax.errorbar(row[8], place, xerr=row[9], fmt="s" if dense else "o", color="C1" if dense else "C0")
        names = [f"{row[0].replace('_', ' ')}, {row[7]:.2g}" for row in ordered]
        ax.set_yticks(range(len(ordered)), names)
        ax.set_xlabel("accuracy on other digits, standard deviation")
        ax.set_title("Squares are dense; operations of training")

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    with one_thread():
        rows = _results(range(_SEEDS))
    by_name = {row[0]: row[8] for row in rows}
    notes = (
        f"Means of {_SEEDS} seeds. RigL minus fixed ERK masks {by_name['RigL'] - by_name['random_erk']:+.3f}, minus "
        f"the small dense network {by_name['RigL'] - by_name['dense_equal_parameters']:+.3f}, minus the dense one "
        f"{by_name['RigL'] - by_name['dense']:+.3f}. Random search minus a random mask "
        f"{by_name['random_search'] - by_name['random_erk']:+.3f}. In these networks equal parameters are equal "
        "operations of a sample."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


checklist = Study(
    name="dynamic_sparsity.checklist",
    title="Ways to train a sparse network, and their fair baselines",
    description="Networks for the digits of scikit-learn with one in twenty weights, trained under fixed and changing "
    "masks, beside the dense networks that a claim about them must name. Kinds and costs are read from the runs.",
    run=_run,
)
