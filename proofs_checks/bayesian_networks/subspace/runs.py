"""Small networks whose masks swap at random settings, and what must be true at every step of theirs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sparsetheory.gpu import bayesian
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds

__all__ = ["SwapRun", "Trained", "swap_runs"]

_OPTIMIZERS = (
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}),
    ("AdamW", {"lr": 0.05, "amsgrad": True}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5}),
)
_N_SAMPLES = 12


@dataclass(frozen=True)
class SwapRun:
    """A network of two layers, its data, and the settings of a scheduler.

    Parameters
    ----------
    sizes : tuple of int
        Inputs, hidden units, classes.
    density : float
    optimizer : tuple
        Class and options.
    options : dict
        Of :class:`SSVIScheduler`.
    n_steps : int
    seed : int
    with_zero : bool
        Whether some deviations start at softplus(0), whose parameter is 0.
    """

    sizes: tuple[int, int, int]
    density: float
    optimizer: tuple[str, dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    n_steps: int = 4
    seed: int = 0
    with_zero: bool = False

    def start(self, **changes: Any) -> "Trained":
        """Return the network before its first step, in float64; `changes` are options of the scheduler."""
        import torch

        torch.manual_seed(self.seed)
        first, hidden, last = self.sizes
        model: Any = torch.nn.Sequential(
            torch.nn.Linear(first, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, last)
        ).double()
        bayesian.bayesianise(
            model,
            self.density,
            prior_std=0.5,
            mu_std="fan_in",
            sigma_init=(0.05, 0.03),
            dense_first=False,
            generator=self.seed + 1,
        )
        if self.with_zero:
            with torch.no_grad():
                for layer in (model[0], model[2]):
                    layer.rho[layer.mask & (layer.weight > 0)] = 0.0
        name, options = self.optimizer
        optimizer = getattr(torch.optim, name)(model.parameters(), **options)
        options = {"period": 2, "t_end": 50, "drop_fraction": 0.5, **self.options, **changes}
        return Trained(self, model, optimizer, bayesian.SSVIScheduler(model, optimizer, **options))


@dataclass(frozen=True, eq=False)
class Trained:
    """A network, its optimiser and its scheduler, at some step."""

    run: SwapRun
    model: Any
    optimizer: Any
    scheduler: Any

    @property
    def layers(self) -> list[Any]:
        """The two layers with normal weights."""
        return [self.model[0], self.model[2]]

    def batch(self, step: int) -> tuple[Any, Any]:
        """Return inputs and classes of a step, from a stream of their own."""
        import torch

        source = torch.Generator().manual_seed(7919 * self.run.seed + step)
        x = torch.randn(_N_SAMPLES, self.run.sizes[0], generator=source, dtype=torch.float64)
        return x, torch.randint(self.run.sizes[2], (_N_SAMPLES,), generator=source)

    def step(self, before_update: Callable[[], None] = lambda: None, *, prior: float = 1e-3) -> None:
        """Make one step of training."""
        import torch

        x, y = self.batch(self.scheduler.step)
        torch.manual_seed(104729 * self.run.seed + self.scheduler.step)
        self.optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.model(x), y)
        (loss + prior * self.scheduler.kl()).backward()
        before_update()
        self.optimizer.step()

    def alive_off_the_masks(self) -> int:
        """Count means, parameters of deviations and moments off the masks that are not zero."""
        import torch

        alive = 0
        for layer in self.layers:
            for parameter in (layer.weight, layer.rho):
                kept = [parameter, *self.optimizer.state[parameter].values()]
                same = [one for one in kept if isinstance(one, torch.Tensor) and one.shape == parameter.shape]
                alive += sum(int((one[~layer.mask] != 0).sum()) for one in same)
        return alive


def swap_runs(*, with_zero: bool = False, **options: SearchStrategy[Any]) -> SearchStrategy[SwapRun]:
    """Return a strategy of runs; `options` are strategies for options of the scheduler."""
    return st.builds(
        SwapRun,
        st.tuples(st.integers(3, 7), st.integers(4, 9), st.integers(2, 4)),
        st.sampled_from([0.25, 0.4, 0.6]),
        st.sampled_from(_OPTIMIZERS),
        st.fixed_dictionaries({"min_swaps": st.just(1), **options}),
        st.just(4),
        seeds.map(lambda seed: int(np.random.default_rng(seed).integers(2**20))),
        st.just(with_zero),
    )
