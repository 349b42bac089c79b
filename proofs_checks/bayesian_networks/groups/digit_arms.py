"""Networks of normal weights on digits, trained on subspaces of one density and of several structures."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ARMS", "DENSITY", "Arm", "Outcome", "train_arm"]

# One in sixteen: the density that rows, blocks of 2 x 8 and one of every 16 weights can all have.
DENSITY = 1 / 16
_SIZES = (64, 256, 128, 10)
_BATCH, _PERIOD, _PRIOR, _TEMPERATURE = 128, 20, 0.1, 0.01
_N_TRAIN = 1400


@dataclass(frozen=True)
class Arm:
    """What moves, by which scores, and under which budget; layers not named in `units` move single weights."""

    units: Any = None
    criterion: str = "snr_abs"
    rule: str = "grad"
    budget: str = "tensor"
    drop_fraction: float = 0.3


# Classes cannot do without their own row or their share of columns, so the last layer keeps single weights there.
_HIDDEN_ROWS: Mapping[str, Any] = {"0": "rows", "2": "rows"}
ARMS: Mapping[str, Arm] = {
    "weights, fixed masks": Arm(drop_fraction=0.0),
    "weights": Arm(),
    "weights, by nats": Arm(criterion="savage_dickey", rule="gain"),
    "weights, one budget by nats": Arm(criterion="savage_dickey", rule="gain", budget="global"),
    "weights, one budget by ratio and gradient": Arm(budget="global"),
    "1 of 16 weights": Arm("1:16"),
    "blocks of 2 x 8": Arm((2, 8)),
    "columns": Arm({"0": "columns", "2": "columns", "4": "columns"}),
    "rows": Arm(_HIDDEN_ROWS),
    "rows, by nats": Arm(_HIDDEN_ROWS, criterion="savage_dickey", rule="gain"),
}


@dataclass(frozen=True)
class Outcome:
    """What a run found.

    Attributes
    ----------
    accuracy : float
        At the means.
    densities : tuple of float
        Of the layers.
    on_paths : float
        Share of the active weights that are left once neurons are gone which read or feed nothing.
    dense_size : float
        Entries of the matrices that are left then, zeros included, over those of the dense network.
    """

    accuracy: float
    densities: tuple[float, ...]
    on_paths: float
    dense_size: float


def train_arm(arm: Arm, seed: int, n_epochs: int) -> Outcome:
    """Train one network; masks, initial values, batches and noise have seeds of their own."""
    import torch

    from sparsetheory.gpu import bayesian, core

    x, y, x_test, y_test = _digits(seed)
    model = core.models.MLP(list(_SIZES), bias=False, generator=1000 + seed)
    bayesian.bayesianise(model, DENSITY, prior_std=_PRIOR, mu_std="fan_in", dense_first=False, generator=2000 + seed)
    if arm.units is not None:
        bayesian.structured_masks(model, arm.units, generator=3000 + seed)
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, bayesian.VariationalLayer)}
    noise = torch.Generator().manual_seed(4000 + seed)
    for layer in layers.values():
        layer.generator = noise
    optimizer = torch.optim.SGD(
        [
            {"params": [layer.weight for layer in layers.values()], "lr": 0.02},
            {"params": [layer.rho for layer in layers.values()], "lr": 0.01},
        ],
        momentum=0.9,
    )
    n_steps = n_epochs * -(-_N_TRAIN // _BATCH)
    with warnings.catch_warnings():
        # One budget by scores without a common unit is an arm of its own here, and small layers may not swap.
        warnings.simplefilter("ignore")
        scheduler = bayesian.SSVIScheduler(
            model,
            optimizer,
            drop_fraction=arm.drop_fraction,
            period=_PERIOD,
            t_end=int(0.75 * n_steps),
            criterion=arm.criterion,
            rule=arm.rule,
            units=arm.units,
            budget=arm.budget,
            min_active=1,
            n_samples=_N_TRAIN,
            temperature=_TEMPERATURE,
        )
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
    order = torch.Generator().manual_seed(5000 + seed)
    for _ in range(n_epochs):
        for rows in torch.randperm(_N_TRAIN, generator=order).split(_BATCH):
            optimizer.zero_grad()
            loss = core.class_loss(model(x[rows]), y[rows]) + _TEMPERATURE / _N_TRAIN * scheduler.kl()
            loss.backward()
            optimizer.step()
        rates.step()
    scheduler.detach()
    with bayesian.sampling(model, "mean"), torch.no_grad():
        accuracy = float((model(x_test).argmax(1) == y_test).double().mean())
    masks = [layer.mask for layer in layers.values()]
    smaller = bayesian.remove_dead_neurons(bayesian.export_plain(model))  # type: ignore[arg-type]
    left = [module.weight for module in smaller if isinstance(module, torch.nn.Linear)]
    n_active, n_dense = (sum(size) for size in zip(*((int(m.sum()), m.numel()) for m in masks), strict=True))
    return Outcome(
        accuracy,
        tuple(float(mask.double().mean()) for mask in masks),
        sum(int((weight != 0).sum()) for weight in left) / n_active,
        sum(weight.numel() for weight in left) / n_dense,
    )


def _digits(seed: int) -> tuple[Any, Any, Any, Any]:
    import torch

    from sparsetheory.gpu import core

    digits = core.datasets.load_digits()
    x, y = torch.as_tensor(digits.images).flatten(1), torch.as_tensor(digits.labels)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    train, test = order[:_N_TRAIN], order[_N_TRAIN:]
    return x[train], y[train], x[test], y[test]
