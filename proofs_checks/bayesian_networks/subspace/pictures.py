"""Sparse Bayesian networks for pictures of digits, trained under masks that swap and under others."""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from sparsetheory.gpu import bayesian, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

__all__ = ["Arm", "Found", "run_arm"]

_BATCH = 128
_DENSE = ("pruned", "retrained")
_SIZES = {"load_digits": (64, 256, 128, 10), "load_mnist_5k": (784, 100, 10)}
_N_TRAIN = {"load_digits": 1400, "load_mnist_5k": 4000}


@dataclass(frozen=True)
class Arm:
    """How a network is trained.

    Parameters
    ----------
    seed : int
        Of the split, of masks and starts, of batches and of noise, each with a stream of its own.
    density : float
    epochs : int
    criterion : str
        Of :class:`SSVIScheduler`; "static" keeps the masks, "pruned" trains full masks and then keeps the largest
        ratios of mean to deviation of each layer, and "retrained" trains what is left as long again.
    rule : str
    temperature, prior_std : float
    sigma_init : tuple of float
        Mean and deviation of the initial standard deviations.
    options : tuple of (str, value)
        Further options of the scheduler.
    pictures : str
        Name of the loader.
    n_draws : int
        Draws of the weights for predictions that are averaged; 0 leaves them out.
    """

    seed: int
    density: float = 0.05
    epochs: int = 40
    criterion: str = "snr_abs"
    rule: str = "grad"
    temperature: float = 0.01
    prior_std: float = 0.1
    sigma_init: tuple[float, float] = (6e-4, 5e-4)
    options: tuple[tuple[str, Any], ...] = ()
    pictures: str = "load_digits"
    n_draws: int = 0


@dataclass(frozen=True)
class Found:
    """What a network does with other pictures.

    Parameters
    ----------
    accuracy : float
        At the means of the weights.
    ece : float
        Expected calibration error of predictions that are averaged over draws of the weights.
    drawn_accuracy : float
        Accuracy of these.
    explored : float
        Share of the weights that were ever active.
    history : tuple of str
        Fingerprints of the masks after each swap.
    """

    accuracy: float
    ece: float
    drawn_accuracy: float
    explored: float
    history: tuple[str, ...] = field(default=(), repr=False)


@lru_cache(maxsize=512)
def run_arm(arm: Arm) -> Found:
    """Train a network and test it."""
    import torch
    from torch import nn

    with one_thread():
        x, y = shuffled_digits(arm.seed, arm.pictures)
        n = _N_TRAIN[arm.pictures]
        sizes = _SIZES[arm.pictures]
        with torch.random.fork_rng(devices=[]):
            layers: list[Any] = []
            for before, after in pairwise(sizes):
                layers += [nn.Linear(before, after, bias=False), nn.ReLU()]
            model = nn.Sequential(*layers[:-1])
        bayesian.bayesianise(
            model,
            1.0 if arm.criterion in _DENSE else arm.density,
            prior_std=arm.prior_std,
            mu_std="fan_in",
            sigma_init=arm.sigma_init,
            dense_first=False,
            generator=arm.seed + 10_000,
        )
        scheduler = _train(arm, model, x[:n], y[:n])
        if arm.criterion in _DENSE:
            _prune(model, arm.density)
        if arm.criterion == "retrained":
            scheduler = _train(replace(arm, seed=arm.seed + 1, criterion="static"), model, x[:n], y[:n])
        with torch.no_grad(), bayesian.sampling(model, "mean"):
            accuracy = core.accuracy(model(x[n:]), y[n:])
        drawn, ece = math.nan, math.nan
        if arm.n_draws:
            mean = bayesian.predict_mc(model, x[n:], n_samples=arm.n_draws, generator=arm.seed + 40_000).mean
            drawn = core.accuracy(mean, y[n:])
            ece = core.expected_calibration_error(mean.clamp_min(1e-30).log(), y[n:], n_bins=15)
        digests = tuple(event.digest for event in scheduler.history)
        return Found(accuracy, ece, drawn, scheduler.report().explored, digests)


def _train(arm: Arm, model: Any, x: Any, y: Any) -> Any:
    """Train by momentum at rates that follow a cosine per epoch; the prior is warmed up over the first half."""
    import torch

    layers = [layer for layer in model.modules() if isinstance(layer, bayesian.VariationalLayer)]
    noise = torch.Generator().manual_seed(arm.seed + 20_000)
    for layer in layers:
        layer.generator = noise
    optimizer = torch.optim.SGD(
        [
            {"params": [layer.weight for layer in layers], "lr": 0.02},
            {"params": [layer.rho for layer in layers], "lr": 0.01},
        ],
        momentum=0.9,
    )
    per_epoch = math.ceil(len(x) / _BATCH)
    steps = per_epoch * arm.epochs
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * (step // per_epoch) / arm.epochs))
    )
    still = arm.criterion in ("static", *_DENSE)
    scheduler = bayesian.SSVIScheduler(
        model,
        optimizer,
        **{
            "period": 20,
            "t_end": int(0.75 * steps),
            "drop_fraction": 0.0 if still else 0.3,
            "criterion": "snr_abs" if still else arm.criterion,
            "rule": arm.rule,
            "n_samples": len(x),
            "temperature": arm.temperature,
            "generator": arm.seed + 30_000,
            **dict(arm.options),
        },
    )
    weight = bayesian.KLWeight(len(x), temperature=arm.temperature, n_steps=arm.epochs)

    def loss(output: Any, targets: Any) -> Any:
        epoch = scheduler.step // per_epoch + 1
        return core.class_loss(output, targets) + weight(epoch) * scheduler.kl()

    core.train(
        model,
        x,
        y,
        optimizer=optimizer,
        n_steps=steps,
        batch_size=_BATCH,
        loss=loss,
        scheduler=rates,
        generator=arm.seed + 50_000,
    )
    scheduler.detach()
    return scheduler


def _prune(model: Any, density: float) -> None:
    for layer in model.modules():
        if isinstance(layer, bayesian.VariationalLayer):
            score = bayesian.removal_score(layer.weight, layer.sigma.detach(), "snr")
            layer.set_mask(core.PerTensor(density).mask(score))
