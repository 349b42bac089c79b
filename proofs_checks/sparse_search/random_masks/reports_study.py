"""What the runs of these searches are and cost, read from what their masks did."""

from dataclasses import dataclass
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, search, weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_search.random_masks.digits_pairs import (
    DIGITS,
    MNIST,
    N_SCORED,
    Pictures,
    parent,
    split,
)
from sparsetheory.proofs_checks.sparse_search.supernet.digits_chain import DIGITS as CHAIN_DIGITS
from sparsetheory.proofs_checks.sparse_search.supernet.digits_chain import MNIST as CHAIN_MNIST
from sparsetheory.proofs_checks.sparse_search.supernet.digits_chain import ChainRun

_DENSITY, _CANDIDATES, _BATCH = 0.25, 100, 100
# Of the search over operations.
_STEPS, _PRICE = 100, 0.3
_SETS = {"quick": ("digits",), "full": ("digits", "MNIST")}
_COLUMNS = (
    "pictures",
    "run",
    "kind",
    "start",
    "density of masked weights",
    "density of all parameters",
    "1000 operations a picture",
    "training over dense",
    "search over dense",
    "accuracy",
)
_NOTES = (
    "Kinds are derived from the history of the masks. Operations count one multiply-add as two; those of training and "
    "search are relative to the training of the dense network of the same shape. One network each. Random search costs "
    "a part of the training it is to guide; a search over operations costs more than to train what it found."
)


@dataclass(frozen=True, eq=False)
class _Finished:
    """A trained network, its masks, the history of these, operations of training and search, and the accuracy."""

    model: Any
    masks: Any
    history: list[tuple[int, str, float]]
    training: float
    searching: float
    accuracy: float


def _forward(model: Any, pictures: Pictures, masks: Any = None) -> float:
    """Return the operations of one picture, without those with weights off the masks."""
    return float(core.count_flops(model, split(pictures).train[0][:1], masks).sparse_flops)


def _run_masked(pictures: Pictures, masks: Any, n_steps: int, start: Any = None) -> tuple[Any, float]:
    data = split(pictures)
    model = parent(pictures, 0) if start is None else start
    run = search.MaskedRun(model, masks, data.train, data.held_out, lr=2e-3, batch_size=_BATCH)
    with one_thread():
        return run.model, run(n_steps)


def _static(pictures: Pictures, masks: Any, searching: float = 0.0) -> _Finished:
    """Train under masks that do not change."""
    model, accuracy = _run_masked(pictures, masks, pictures.n_steps)
    history = [(step, masks.digest(), masks.density) for step in (0, pictures.n_steps)]
    cost = core.training_flops("static", 0.0, _forward(model, pictures, masks), pictures.n_steps, batch_size=_BATCH)
    return _Finished(model, masks, history, cost.total, searching, accuracy)


def _searched(pictures: Pictures) -> _Finished:
    model, sampler, data = parent(pictures, 0), search.NodeSampler(_DENSITY), split(pictures)
    with one_thread():
        found = search.random_mask_search(model, sampler, data.initial_loss, _CANDIDATES, 0)
    return _static(pictures, found.mask, _CANDIDATES * N_SCORED * _forward(model, pictures, found.mask))


def _pruned(pictures: Pictures) -> _Finished:
    """Train dense for half of the steps, prune by magnitude, and train on."""
    half = pictures.n_steps // 2
    dense, _ = _run_masked(pictures, {}, half)
    layers = {name: dense.get_parameter(name).detach() for name in core.MaskSet.of(dense)}
    n_kept = search.NodeSampler(_DENSITY)(dense, 0).n_nonzero
    masks = weights.one_shot_masks(layers, 1 - n_kept / sum(weight.numel() for weight in layers.values()))
    model, accuracy = _run_masked(pictures, masks, pictures.n_steps - half, dense)
    history = [
        (0, "dense", 1.0),
        (half, masks.digest(), masks.density),
        (pictures.n_steps, masks.digest(), masks.density),
    ]
    path = [_forward(dense, pictures)] * half + [_forward(model, pictures, masks)] * (pictures.n_steps - half)
    cost = core.training_flops("gradual", 0.0, 0.0, pictures.n_steps, path=path, batch_size=_BATCH)
    return _Finished(model, masks, history, cost.total, 0.0, accuracy)


def _chain(pictures: Pictures, seen: Any) -> _Finished:
    """Search a chain, and train what is derived; its masks stay from there on."""
    run = ChainRun(0, _STEPS, _PRICE, seen)
    _, network = run.with_sparse_ops
    model, accuracy = run.train(network, {}, seen.n_steps)
    masks = core.MaskSet.of(model)
    history = [(step, masks.digest(), masks.density) for step in (0, seen.n_steps)]
    cost = core.training_flops("static", 0.0, _forward(model, pictures, masks), seen.n_steps, batch_size=_BATCH)
    # A forward and a backward pass for alpha, and for weights, of all operations: dense, as they are computed.
    x = split(pictures).train[0][:1]
    searching = core.training_flops("dense", core.count_flops(run.chain(), x).flops, 0.0, 2 * _STEPS, batch_size=_BATCH)
    return _Finished(model, masks, history, cost.total, searching.total, accuracy)


def _row(title: str, name: str, run: _Finished, pictures: Pictures) -> tuple[Any, ...]:
    data = split(pictures)
    report = core.sparsity_report(run.model, run.masks, run.history, data.train[0][:1])
    assert report.taxonomy is not None
    assert report.flops is not None
    dense = core.training_flops("dense", report.flops.flops, 0.0, run.history[-1][0], batch_size=_BATCH).total
    return (
        title,
        name,
        report.taxonomy.kind,
        report.taxonomy.start,
        round(report.density, 3),
        round(report.overall_density, 3),
        round(report.flops.sparse_flops / 1000, 1),
        round(run.training / dense, 3),
        round(run.searching / dense, 3),
        round(run.accuracy, 4),
    )


def _runs(pictures: Pictures, seen: Any) -> dict[str, _Finished]:
    model = parent(pictures, 0)
    nodes = search.NodeSampler(_DENSITY)(model, 0)
    shapes = {name: mask.shape for name, mask in nodes.items()}
    erk = search.WeightSampler(core.erk_densities(shapes, nodes.density))(model, 0)
    return {
        "random nodes": _static(pictures, nodes),
        "searched nodes": _searched(pictures),
        "random weights, ERK": _static(pictures, erk),
        "pruned by magnitude": _pruned(pictures),
        "searched chain": _chain(pictures, seen),
    }


def _run(profile: str) -> StudyResult:
    sets = {"digits": (DIGITS, CHAIN_DIGITS), "MNIST": (MNIST, CHAIN_MNIST)}
    rows = [
        _row(title, name, run, sets[title][0]) for title in _SETS[profile] for name, run in _runs(*sets[title]).items()
    ]
    return StudyResult(_COLUMNS, rows, _NOTES)


search_reports = Study(
    name="sparse_search.search_reports",
    title="What searched networks are and cost",
    description="Reports of networks for handwritten digits under random and searched masks of nodes, random weights, "
    "magnitude pruning during training, and operations that were searched for: densities, operations, and accuracy.",
    run=_run,
)
