"""Runs of network Turbo-VBI on handwritten digits."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sparsetheory.gpu import bayesian, core
from sparsetheory.gpu.core import datasets, models
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["Arm", "Pixels", "Run", "mean_run_of", "pixels", "run_arm"]

_BATCH, _N_TRAIN = 128, {"digits": 1400, "MNIST": 4000}
_HIDDEN = {"digits": (100, 50), "MNIST": (50,)}


@dataclass(frozen=True)
class Arm:
    """How a network is trained.

    Parameters
    ----------
    seed : int
        Of the split, of initial values, of batches and of noise, each with a stream of its own.
    prior, factorisation : str
        As in NetworkTurboVBI.
    epochs, warmup_epochs : int
        Of training; half of what is left after the warm-up is annealing.
    annealed : bool
        Whether the law of the off state moves step by step, or jumps.
    temperature : float
        As in NetworkTurboVBI.
    rho_lr, off_rate_ratio : float
        Learning rate of the deviations, and where the annealing ends.
    shuffled : bool
        Whether the pixels of all pictures are permuted, all in the same way.
    pictures : str
        "digits" or "MNIST".
    dead_inputs : str
        As in NetworkTurboVBI.
    updates_per_epoch : int
        How often supports are updated.
    tuning_epochs : int
        Of fine-tuning after pruning.
    """

    seed: int
    prior: str = "iid"
    factorisation: str = "collapsed"
    epochs: int = 40
    warmup_epochs: int = 10
    annealed: bool = True
    temperature: float = 1.0
    rho_lr: float = 0.05
    off_rate_ratio: float = 1e-3
    shuffled: bool = False
    pictures: str = "digits"
    dead_inputs: str = "keep"
    updates_per_epoch: int = 1
    tuning_epochs: int = 5


@dataclass(frozen=True)
class Pixels:
    """Pictures as rows of pixels, split at random.

    Parameters
    ----------
    x, y, x_test, y_test : Tensor
        Training and test data.
    """

    x: Any
    y: Any
    x_test: Any
    y_test: Any

    @property
    def dead(self) -> BoolArray:
        """Which pixels are zero in all training pictures."""
        return np.asarray((self.x == 0).all(0))


@dataclass(frozen=True, eq=False)
class Run:
    """What a run ended with.

    Parameters
    ----------
    full, pruned, tuned : float
        Accuracies on test pictures without noise: of all means, of those that are on, and after fine-tuning of these.
    report : NetworkTurboVBIReport
        Densities, runs and divergences.
    mask : ndarray of bool
        Which weights of the first layer are on.
    means : ndarray
        Means of the first layer.
    dead_on : float
        Share of weights of the first layer that read dead pixels and are on.
    path : ndarray of float64 of shape (n_updates, 4)
        After each update of the supports: density of the first layer, its mean run, the median deviation of its weights
        and the rate of precisions that are off.
    """

    full: float
    pruned: float
    tuned: float
    report: Any
    mask: BoolArray
    means: Float64Array
    dead_on: float
    path: Float64Array


@lru_cache(maxsize=4)
def pixels(name: str, seed: int, shuffled: bool) -> Pixels:
    """Return pictures in a random split, with one random permutation of the pixels if asked for."""
    import torch

    data = datasets.load_digits() if name == "digits" else datasets.load_mnist_5k()
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(len(data.labels))
    x, y = data.images.reshape(len(order), -1)[order], data.labels[order]
    if shuffled:
        x = x[:, rng.permutation(x.shape[1])]
    parts = [torch.tensor(part) for part in (x, y)]
    n = _N_TRAIN[name]
    return Pixels(parts[0][:n], parts[1][:n], parts[0][n:], parts[1][n:])


def mean_run_of(mask: BoolArray) -> float:
    """Return the mean length of runs along rows."""
    starts = mask[:, 0].sum() + (mask[:, 1:] & ~mask[:, :-1]).sum()
    return float(mask.sum() / max(1, starts))


@lru_cache(maxsize=64)
def run_arm(arm: Arm) -> Run:
    """Train a network, export it and fine-tune what is left."""
    import torch

    data = pixels(arm.pictures, arm.seed, arm.shuffled)
    first, noise, order, tuning = (
        int(number) for number in np.random.default_rng([arm.seed, 2]).integers(2**31, size=4)
    )
    widths = [data.x.shape[1], *_HIDDEN[arm.pictures], 10]
    model = bayesian.bayesianise(models.MLP(widths), 1.0, mu_std="fan_in", sigma_init=(0.05, 0.0), generator=first)
    named = dict(model.named_parameters())
    deviations = [value for name, value in named.items() if name.endswith("rho")]
    others = [value for name, value in named.items() if not name.endswith("rho")]
    groups = [{"params": others, "lr": 0.01}, {"params": deviations, "lr": arm.rho_lr}]
    optimizer = torch.optim.Adam(groups, fused=True)
    steps = -(-len(data.x) // _BATCH)
    free = arm.epochs - arm.warmup_epochs
    turbo = bayesian.NetworkTurboVBI(
        model,
        optimizer,
        n_samples=len(data.x),
        warmup_steps=arm.warmup_epochs * steps,
        anneal_steps=free * steps // 2 if arm.annealed else 1,
        update_every=steps // arm.updates_per_epoch,
        prior=arm.prior,
        factorisation=arm.factorisation,
        temperature=arm.temperature,
        off_rate_ratio=arm.off_rate_ratio,
        dead_inputs=arm.dead_inputs,
    )
    path: list[tuple[float, ...]] = []
    watch = optimizer.register_step_post_hook(lambda *_: _record(path, model, turbo, steps))

    def loss(output: Any, labels: Any) -> Any:
        return core.class_loss(output, labels) + turbo.penalty()

    with one_thread(), _quiet():
        with bayesian.sampling(model, "local", noise):
            core.train(
                model,
                data.x,
                data.y,
                optimizer=optimizer,
                n_steps=arm.epochs * steps,
                batch_size=_BATCH,
                loss=loss,
                generator=order,
            )
        watch.remove()
        turbo.remove()
        with bayesian.sampling(model, "mean"):
            full = _accuracy(model, data)
        plain, masks = turbo.export(), turbo.masks()
        pruned = _accuracy(plain, data)
        _tune(plain, masks, data, arm.tuning_epochs * steps, tuning)
    mask, means = masks["0.weight"].numpy(), named["0.weight"].detach().numpy()
    dead = data.dead
    dead_on = float(mask[:, dead].mean()) if dead.any() else float("nan")
    return Run(full, pruned, _accuracy(plain, data), turbo.report(), mask, means, dead_on, np.array(path))


def _record(path: list[tuple[float, ...]], model: Any, turbo: Any, every: int) -> None:
    if turbo.n_steps % every == 0:
        on = turbo.priors["0"].probability > 0.5
        sigma = float(model[0].sigma.detach().median())
        path.append((float(on.mean()), mean_run_of(on), sigma, turbo.priors["0"].factors.off_rate))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings about arms that are made to fail from the output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _accuracy(model: Any, data: Pixels) -> float:
    import torch

    with torch.no_grad():
        return core.accuracy(model(data.x_test), data.y_test)


def _tune(model: Any, masks: Any, data: Pixels, n_steps: int, seed: int) -> None:
    """Train what is left at a tenth of the learning rate, and leave zeros where they are."""
    import torch

    if not n_steps:
        return
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    with core.UpdateGate(optimizer, {weight: ~mask for weight, mask in masks.by_parameter(model).items()}):
        core.train(model, data.x, data.y, optimizer=optimizer, n_steps=n_steps, batch_size=_BATCH, generator=seed)
