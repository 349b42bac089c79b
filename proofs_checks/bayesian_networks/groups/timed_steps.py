"""Training steps of one network with normal weights, dense and on a subspace: nominal operations and measured time."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["SIZES", "StepCost", "nominal_cost", "step_costs", "training_step"]

SIZES = (784, 300, 100, 10)
_BATCH = 128
# Steps from swap to swap.
_PERIOD = 100


@dataclass(frozen=True)
class StepCost:
    """What a step costs with one batch.

    Attributes
    ----------
    name : str
    density : float
    operations : float
        Nominal operations, without those of optimiser and masks.
    seconds : float
        Mean over the steps of a period, with the fastest swap and the fastest other step, on one thread.
    """

    name: str
    density: float
    operations: float
    seconds: float


def nominal_cost(density: float) -> float:
    """Return the operations of a step with one batch; with all weights active that of dense inference."""
    from sparsetheory.gpu.core import training_flops

    forward = 2.0 * sum(a * b for a, b in itertools.pairwise(SIZES))
    if density == 1:
        # Two passes, one for means and one for variances.
        return training_flops("dense", 2 * forward, 2 * forward, 1, batch_size=_BATCH).total
    return training_flops("ssvi", forward, density * forward, 1, period=_PERIOD, batch_size=_BATCH).total


def training_step(density: float, backend: str) -> Callable[[bool], float]:
    """Return a function that takes a step, a swap if asked to, and returns its seconds.

    The backend "plain" is dense inference without masks, in a few lines of torch.
    """
    import torch
    from torch import nn

    from sparsetheory.gpu import bayesian, core

    generator = torch.Generator().manual_seed(0)
    x = torch.rand(_BATCH, SIZES[0], generator=generator)
    y = torch.randint(SIZES[-1], (_BATCH,), generator=generator)
    model: nn.Module = core.models.MLP(list(SIZES), generator=1)
    divergence: Callable[[], Any]
    if backend == "plain":
        model, divergence = _plain(model)
    else:
        bayesian.bayesianise(model, density, prior_std=0.1, mu_std="fan_in", dense_first=False, generator=2)
        for layer in model.modules():
            if isinstance(layer, bayesian.BayesLinear):
                layer.backend = backend
        divergence = lambda: bayesian.kl_divergence(model)  # noqa: E731
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = bayesian.SSVIScheduler(model, optimizer, period=2**29, t_end=2**30) if density < 1 else None

    def step(swap: bool) -> float:
        if swap and scheduler is not None:
            scheduler.request()
        started = time.perf_counter()
        optimizer.zero_grad()
        (core.class_loss(model(x), y) + 1e-5 * divergence()).backward()
        optimizer.step()
        return time.perf_counter() - started

    return step


def step_costs(density: float, n_steps: int, n_swaps: int) -> list[StepCost]:
    """Return the costs of dense inference, and on a subspace with masked dense products and with sparse ones."""
    ways = {
        "dense": (1.0, "plain"),
        "subspace, dense products": (density, "dense"),
        "subspace, sparse products": (density, "sparse"),
    }
    steps = {name: training_step(share, backend) for name, (share, backend) in ways.items()}
    for step in steps.values():
        step(False)
    # The ways take turns, so that a busy spell of the machine meets all alike.
    ordinary = [{name: step(False) for name, step in steps.items()} for _ in range(n_steps)]
    swaps = [{name: step(True) for name, step in steps.items()} for _ in range(n_swaps)]
    costs = []
    for name, (share, _) in ways.items():
        fastest = [min(turn[name] for turn in turns) for turns in (ordinary, swaps)]
        seconds = ((_PERIOD - 1) * fastest[0] + fastest[1]) / _PERIOD
        costs.append(StepCost(name, share, nominal_cost(share), seconds))
    return costs


def _plain(model: Any) -> tuple[Any, Callable[[], Any]]:
    """Return a model whose linear layers have normal weights and no masks, and its divergence from the prior."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Dense(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            self.weight, self.bias = layer.weight, layer.bias
            self.rho = nn.Parameter(torch.full_like(layer.weight, -5.0))

        def forward(self, x: Any) -> Any:
            self.sigma = functional.softplus(self.rho)
            mean = functional.linear(x, self.weight, self.bias)
            variance = functional.linear(x.square(), self.sigma.square())
            return mean + variance.sqrt() * torch.randn_like(mean)

        def kl(self) -> Any:
            return ((self.sigma.square() + self.weight.square()) / 0.02 - (self.sigma / 0.1).log() - 0.5).sum()

    layers = [Dense(module) if isinstance(module, nn.Linear) else module for module in model]
    return nn.Sequential(*layers), lambda: sum(layer.kl() for layer in layers if isinstance(layer, Dense))
