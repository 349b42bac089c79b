"""Sparse and dense classifiers of handwritten digits, random and plain, that are trained alike."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.gpu import bayesian, core, dynamic
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

__all__ = [
    "ADAM",
    "DENSITY",
    "DIGITS",
    "MNIST",
    "N_SAMPLES",
    "PUBLISHED",
    "Network",
    "Recipe",
    "Task",
    "fitted",
    "photograph_patches",
]

DENSITY, N_SAMPLES = 0.05, 20
_BATCH, _FRACTION, _PERIOD = 128, 0.3, 20


@dataclass(frozen=True)
class Recipe:
    """How networks are trained; plain ones ignore what is about deviations.

    Parameters
    ----------
    adam : bool
        Adam, or stochastic gradients with momentum 0.9.
    lr, lr_rho : float
        Learning rates of means and of `rho`; both fall along a cosine, from epoch to epoch.
    sigma_init : tuple of float
        Initial deviations, as :func:`bayesianise` takes them.
    prior_std : float
    temperature : float
        Weight of the prior in the loss.
    """

    adam: bool
    lr: float
    lr_rho: float
    sigma_init: tuple[float, float]
    prior_std: float
    temperature: float


# The published one, whose deviations hardly move from where they start; and one that trains them.
PUBLISHED = Recipe(False, 0.02, 0.01, (6e-4, 5e-4), 0.1, 0.01)
ADAM = Recipe(True, 0.01, 0.05, (0.05, 0.0), 0.3, 0.1)


@dataclass(frozen=True)
class Task:
    """Pictures to classify.

    Parameters
    ----------
    loader : str
        Of the data set.
    widths : tuple of int
        Of the perceptron, without biases.
    n_train, n_fit : int
        Pictures to train on, and to fit temperatures on, of which training sees none; the rest is for the test.
    n_epochs : int
    """

    loader: str
    widths: tuple[int, ...]
    n_train: int
    n_fit: int
    n_epochs: int

    def parts(self, seed: int) -> tuple[tuple[Any, Any], ...]:
        """Return pictures and classes for training, for temperatures, and for the test."""
        x, y = shuffled_digits(1000 + seed, self.loader)
        ends = self.n_train, self.n_train + self.n_fit
        return tuple((x[rows], y[rows]) for rows in (slice(ends[0]), slice(*ends), slice(ends[1], None)))


DIGITS = Task("load_digits", (64, 256, 128, 10), 1100, 300, 40)
MNIST = Task("load_mnist_5k", (784, 100, 10), 3600, 400, 12)


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network.

    Parameters
    ----------
    model : torch.nn.Module
    random : bool
        Whether its weights are.
    """

    model: Any
    random: bool

    def logits(self, x: Any) -> Any:
        """Return logits at the means."""
        import torch

        with torch.no_grad(), one_thread(), bayesian.sampling(self.model, "mean"):
            return self.model(x)

    def average(self, x: Any, seed: int) -> Any:
        """Return the prediction averaged over sets of weights."""
        with one_thread():
            return bayesian.predict_mc(self.model, x, N_SAMPLES, seed + 5000)


def _model(task: Task, recipe: Recipe, density: float, seed: int) -> Any:
    """Return a network with random weights; plain ones start from its means and masks."""
    return bayesian.bayesianise(
        core.models.MLP(list(task.widths), bias=False),
        density,
        prior_std=recipe.prior_std,
        mu_std="fan_in",
        sigma_init=recipe.sigma_init,
        dense_first=False,
        generator=seed,
    )


def _optimizer(model: Any, task: Task, recipe: Recipe) -> tuple[Any, Any, int]:
    """Return optimiser, schedule of learning rates, and number of steps."""
    import torch

    per_epoch = math.ceil(task.n_train / _BATCH)
    named = dict(model.named_parameters())
    groups = [
        {"params": [value for name, value in named.items() if name.endswith(end)], "lr": lr}
        for end, lr in (("weight", recipe.lr), ("rho", recipe.lr_rho))
    ]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.Adam(groups) if recipe.adam else torch.optim.SGD(groups, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 + math.cos(math.pi * (step // per_epoch) / task.n_epochs)) / 2
    )
    return optimizer, schedule, per_epoch * task.n_epochs


def _fit(model: Any, task: Task, recipe: Recipe, seed: int, hook: Callable[[Any, int], Any], loss: Any = None) -> None:
    """Train a model; `hook` puts its method on the optimiser before the first step."""
    (x, y), _, _ = task.parts(seed)
    optimizer, schedule, n_steps = _optimizer(model, task, recipe)
    hook(optimizer, n_steps)
    with one_thread():
        core.train(
            model,
            x,
            y,
            optimizer=optimizer,
            scheduler=schedule,
            n_steps=n_steps,
            batch_size=_BATCH,
            loss=loss or core.class_loss,
            generator=seed + 3000,
        )


def _variational(task: Task, recipe: Recipe, density: float, seed: int) -> Network:
    import torch

    model, steps = _model(task, recipe, density, seed), itertools.count(1)
    n_steps = math.ceil(task.n_train / _BATCH) * task.n_epochs
    weight = bayesian.KLWeight(task.n_train, recipe.temperature, n_steps)

    def loss(output: Any, targets: Any) -> Any:
        return core.class_loss(output, targets) + weight(next(steps)) * bayesian.kl_divergence(model)

    def hook(optimizer: Any, n_steps: int) -> None:
        if density < 1:
            bayesian.SSVIScheduler(
                model, optimizer, period=_PERIOD, drop_fraction=_FRACTION, t_end=round(0.75 * n_steps)
            )

    source = torch.Generator().manual_seed(seed + 4000)
    with bayesian.sampling(model, "local", source):
        _fit(model, task, recipe, seed, hook, loss)
    return Network(model, random=True)


def _plain(task: Task, recipe: Recipe, density: float, seed: int) -> Network:
    import torch

    start: Any = _model(task, recipe, density, seed)
    model: Any = core.models.MLP(list(task.widths), bias=False)
    masks = {}
    with torch.no_grad():
        for layer, like in zip(model, start, strict=True):
            if hasattr(like, "mask"):
                layer.weight.copy_(like.mean)
                masks[layer.weight] = like.mask

    def hook(optimizer: Any, n_steps: int) -> None:
        if density < 1:
            core.TopologyController(
                optimizer,
                masks,
                drop=dynamic.magnitude,
                grow=dynamic.gradient_magnitude,
                fraction=core.Cosine(_FRACTION, round(0.75 * n_steps)),
                every=_PERIOD,
                skip_update=True,
            )

    _fit(model, task, recipe, seed, hook)
    return Network(model, random=False)


@cache
def fitted(task: Task, recipe: Recipe, seed: int, *, random: bool, density: float = DENSITY) -> Network:
    """Return a trained network; below density 1 its mask changes, by swaps of random weights or by RigL."""
    return (_variational if random else _plain)(task, recipe, density, seed)


def photograph_patches(size: int, n: int, seed: int) -> Any:
    """Return grey patches of photographs, each stretched to brightness from 0 to 1, as rows of numbers."""
    import torch

    rng, photographs = np.random.default_rng(seed), core.datasets.load_photographs().images
    patches: list[Any] = []
    while len(patches) < n:
        picture = photographs[rng.integers(len(photographs))]
        top, left = (int(rng.integers(side - size + 1)) for side in picture.shape[:2])
        grey = picture[top : top + size, left : left + size].mean(axis=2)
        if np.ptp(grey) > 8:  # not one shade
            patches.append((grey - grey.min()) / np.ptp(grey))
    return torch.from_numpy(np.array(patches, dtype=np.float32)).flatten(1)
