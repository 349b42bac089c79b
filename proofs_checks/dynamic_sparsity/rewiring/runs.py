"""Claim about whole runs under changing masks: the budget holds at every step, and nothing lives off the masks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_GROW = ("random", "gradient", "unfired", "momentum")
_OPTIMIZERS = (
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}),
    ("Adam", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "amsgrad": True}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5}),
)


@dataclass(frozen=True, eq=False)
class Run:
    """Two weights under masks, their gradients at all steps, and the rules of a method.

    Parameters
    ----------
    starts : tuple of ndarray
        Weights before the first step.
    masks : tuple of ndarray of bool
    gradients : list of tuple of ndarray
        One for each weight at every step.
    rules : dict
        Of a :class:`TopologyController`, with names of scores.
    optimizer : tuple
        Class and options.
    """

    starts: tuple[Float64Array, ...]
    masks: tuple[BoolArray, ...]
    gradients: list[tuple[Float64Array, ...]]
    rules: dict[str, Any]
    optimizer: tuple[str, dict[str, Any]]

    def largest_excess(self, *, by_chance: bool = False) -> int:
        """Return by how many entries a budget is missed at worst, with everything alive off the masks counted too.

        Parameters
        ----------
        by_chance : bool
            Whether each free place grows by itself, with the probability that keeps the budget on average.
        """
        import torch

        weights = [torch.nn.Parameter(tensor(start)) for start in self.starts]
        masks = [tensor(mask) for mask in self.masks]
        name, options = self.optimizer
        optimizer = getattr(torch.optim, name)(weights, **options)
        rules = {**self.rules, "drop": dynamic.magnitude, "grow": dynamic.find_score(self.rules["grow"])}
        core.TopologyController(optimizer, dict(zip(weights, masks, strict=True)), **rules)
        rng, worst = np.random.default_rng(0), 0
        budgets = [int(mask.sum()) for mask in self.masks]
        for gradients in self.gradients:
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = tensor(gradient)
            optimizer.step()
            if by_chance:
                _grow_by_chance(rng, masks, budgets)
            counts = [int(mask.sum()) for mask in masks]
            if self.rules["budget"] == "global":
                missed = abs(sum(counts) - sum(budgets))
            else:
                missed = max(abs(count - budget) for count, budget in zip(counts, budgets, strict=True))
            worst = max(worst, missed + self._off_the_masks(optimizer, weights, masks))
        return worst

    def _off_the_masks(self, optimizer: Any, weights: list[Any], masks: list[Any]) -> int:
        import torch

        alive = 0
        for weight, mask in zip(weights, masks, strict=True):
            kept = [weight, *optimizer.state[weight].values()]
            same = [one for one in kept if isinstance(one, torch.Tensor) and one.shape == weight.shape]
            alive += sum(int((one[~mask] != 0).sum()) for one in same)
        return alive


def _grow_by_chance(rng: np.random.Generator, masks: list[Any], budgets: list[int]) -> None:
    """Empty a third of each mask, and let every free place come back with the probability that fits on average."""
    for mask, budget in zip(masks, budgets, strict=True):
        flat = mask.numpy().reshape(-1)
        active = np.flatnonzero(flat)
        flat[active[: len(active) // 3]] = False
        free = np.flatnonzero(~flat)
        share = np.clip((budget - flat.sum()) / max(free.size, 1), 0, 1)
        flat[free[rng.random(free.size) < share]] = True


@st.composite
def _runs(draw: st.DrawFn) -> Run:
    rng = np.random.default_rng(draw(seeds))
    shapes = [(draw(st.integers(1, 6)), draw(st.integers(1, 6))) for _ in range(2)]
    tied = draw(st.booleans())

    def numbers(shape: tuple[int, int]) -> Float64Array:
        return rng.choice([0.0, 1.0], shape) if tied else rng.standard_normal(shape)

    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    masks = tuple(rng.random(shape) < density for shape in shapes)
    rules = {
        "grow": draw(st.sampled_from(_GROW)),
        "fraction": draw(st.sampled_from([0.0, 0.3, 1.0])),
        "every": draw(st.integers(1, 3)),
        "allow_regrow": draw(st.booleans()),
        "regrown": draw(st.sampled_from(["keep", "new"])),
        "budget": draw(st.sampled_from(["tensor", "global"])),
        "skip_update": draw(st.booleans()),
        "generator": draw(st.integers(0, 2**31)),
    }
    gradients = [tuple(numbers(shape) for shape in shapes) for _ in range(6)]
    starts = tuple(numbers(shape) for shape in shapes)
    return Run(starts, masks, gradients, rules, draw(st.sampled_from(_OPTIMIZERS)))


def _budgets(run: Run) -> Measurement:
    """Count how far from its budget a mask ever is, and what is not zero off it.

    Every change goes through one function that drops and grows by exact counts; weights and moments are set to zero
    off the masks after each step.
    """
    import warnings

    with warnings.catch_warnings():
        # Small masks cannot give all that a fraction of one asks for, and say so.
        warnings.simplefilter("ignore", RuntimeWarning)
        return Measurement(float(run.largest_excess()), 0.0, scale=1.0)


def _by_chance(run: Run) -> Measurement:
    """Let every place grow with a probability, as published codes do."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return Measurement(float(run.largest_excess(by_chance=True)), 0.0, scale=1.0)


exact_budgets = Claim(
    name="dynamic_sparsity.exact_budgets",
    summary="At every step of a run each mask has its number of entries, and nothing else is alive.",
    statement=r"|M_t| = |M_0|, \quad w_t[\lnot M_t] = 0, \quad \text{moments}_t[\lnot M_t] = 0"
    r" \quad \text{for all } t",
    source=Source.ours("exact counts instead of growth by a probability, whose budget is a random walk"),
    verdict=Always(rtol=0.0),
    instances=_runs,
    evaluate=_budgets,
    near_miss=_by_chance,
)
