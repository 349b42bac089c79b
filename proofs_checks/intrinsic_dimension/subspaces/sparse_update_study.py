"""Sparse updates of a pre-trained network: few coordinates, chosen in three ways, and few layers."""

from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, dimension
from sparsetheory.penalties import L1
from sparsetheory.proofs_checks.intrinsic_dimension.subspaces import networks
from sparsetheory.proofs_checks.intrinsic_dimension.subspaces.pretraining import N_STEPS, N_TUNE, pretrained
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

_SEEDS, _CANDIDATES, _CHOSEN = range(5), 200, (10, 20, 40, 90)
_ALPHAS = (0.3, 0.5, 0.6, 0.7, 0.8)
_WAYS = ("random", "largest mean gradients", "pursuit on gradients")
_COLUMNS = ("chosen by", "setting", "nonzero", "share of weights changed", "accuracy", "standard deviation")


def _task(seed: int) -> networks.Task:
    return networks.shifted(networks.digits(seed)).few(N_TUNE)


def _model(seed: int) -> Any:
    return networks.in_subspace(pretrained(seed), _CANDIDATES, seed=seed)


def _trained(model: Any, task: networks.Task, attach: Any) -> tuple[float, float, float]:
    """Return the nonzero coordinates, the share of weights that changed, and the accuracy."""
    import torch

    optimizer = torch.optim.Adam([model.t], lr=networks.LR["subspace"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, N_STEPS)
    with one_thread(), attach(optimizer):
        core.train(model, task.x, task.y, optimizer=optimizer, n_steps=N_STEPS, scheduler=scheduler)
    changed = float((model.flat_parameters() != model.start).double().mean())
    return float((model.t != 0).sum()), changed, networks.accuracy(model, task)


def _penalised(seed: int, alpha: float) -> tuple[float, float, float]:
    model = _model(seed)
    return _trained(model, _task(seed), lambda optimizer: dimension.ProximalStep(optimizer, [model.t], L1(alpha)))


def _restricted(seed: int, mask: Any) -> tuple[float, float, float]:
    model = _model(seed)
    return _trained(model, _task(seed), lambda optimizer: core.UpdateGate(optimizer, {model.t: ~mask}))


def _gradients(seed: int) -> Any:
    """Return the gradient of the loss of each sample in the candidate coordinates, at the start."""
    import torch

    model, task = _model(seed), _task(seed)

    def loss(t: Any, x: Any, y: Any) -> Any:
        return core.class_loss(torch.func.functional_call(model, {"t": t}, (x[None],)), y[None])

    return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(model.t.detach(), task.x, task.y)


def _mask(seed: int, n: int, how: str) -> Any:
    import torch

    gradients = _gradients(seed)
    if how == "pursuit on gradients":
        return dimension.greedy_directions(gradients, n)
    if how == "largest mean gradients":
        scores = gradients.mean(dim=0).abs()
    else:
        scores = torch.rand(_CANDIDATES, generator=torch.Generator().manual_seed(seed))
    return torch.zeros(_CANDIDATES, dtype=torch.bool).scatter(0, scores.topk(n).indices, True)


def _plot(found: dict[tuple[str, str], Any]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.subplots()
        for how in dict.fromkeys(how for how, _ in found):
            means = np.array([values.mean(axis=0) for (name, _), values in found.items() if name == how])
            ax.plot(means[:, 0], means[:, 2], "o-", label=how)
        ax.set_xscale("log")
        ax.set_xlabel(f"nonzero coordinates, of {_CANDIDATES}")
        ax.set_ylabel("accuracy on digits moved by a pixel")
        ax.legend()

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    found = {}
    for how in _WAYS:
        for n in _CHOSEN:
            found[how, str(n)] = np.array([_restricted(seed, _mask(seed, n, how)) for seed in _SEEDS])
    for alpha in _ALPHAS:
        found["l1 penalty", f"{alpha:g}"] = np.array([_penalised(seed, alpha) for seed in _SEEDS])
    rows = []
    for (how, setting), values in found.items():
        count, changed, score = (round(float(value), 3) for value in values.mean(axis=0))
        rows.append((how, setting, count, changed, score, round(float(values[:, 2].std(ddof=1)), 3)))
    gains = {how: found[how, "20"][:, 2].mean() - found["random", "20"][:, 2].mean() for how in _WAYS}
    pursuit, means = (f"{gains[how]:+.3f}" for how in ("pursuit on gradients", "largest mean gradients"))
    sparsest = found["l1 penalty", f"{_ALPHAS[-1]:g}"].mean(axis=0)
    as_many = found["random", str(_CHOSEN[-1])][:, 2].mean()
    notes = (
        f"Means of {len(_SEEDS)} seeds; the settings are numbers of coordinates, or strengths of the penalty. With 20 "
        f"of {_CANDIDATES} candidates the pursuit on gradients at the start differs from random coordinates by "
        f"{pursuit}, the largest mean gradients by {means}. The penalty chooses while it trains, and shrinks what it "
        f"keeps: {sparsest[0]:.0f} coordinates reach {sparsest[2]:.3f}, {_CHOSEN[-1]} random ones {as_many:.3f}."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(found))


sparse_updates = Study(
    name="intrinsic_dimension.sparse_updates",
    title="Few coordinates of a sparse map",
    description="Of 200 candidate directions of a sparse map a few are used to fine-tune a network on digits that "
    "are moved by a pixel: at random, by gradients, by matching pursuit, or by an l1 penalty with proximal steps.",
    run=_run,
)
