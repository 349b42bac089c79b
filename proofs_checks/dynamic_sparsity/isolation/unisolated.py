"""What later tasks destroy where nothing isolates them, by what they start from."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.dynamic_sparsity.isolation.split_pictures import (
    DIGITS,
    EVERY,
    GROWTHS,
    N_TASKS,
    RATE,
    Arm,
    fit,
    fraction_of,
    judge,
    learn,
    make_network,
)
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array

__all__ = ["accuracies_without_isolation", "unisolated_loss"]

_LOSS = 0.03


def accuracies_without_isolation(arm: Arm, start: str, pictures: Any = DIGITS) -> Float64Array:
    """Learn all pairs under masks that overlap, and judge after each pair on all so far, each under its own mask.

    Parameters
    ----------
    arm : Arm
    start : {"earlier", "fresh"}
        Whether a pair starts from the weights as all before it have left them, or from new random ones.
    pictures : Pictures

    Returns
    -------
    ndarray of float64 of shape (n_tasks, n_tasks)
    """
    import torch

    source = torch.Generator().manual_seed(arm.seed)
    model = make_network(pictures, arm.seed)
    merged = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    shapes = {name: tuple(weight.shape) for name, weight in merged.items()}
    densities = {"erk": core.erk_densities, "uniform": core.uniform_densities}[arm.init](shapes, arm.density)
    own_masks, found = [], np.full((N_TASKS, N_TASKS), np.nan)
    for task in range(N_TASKS):
        masks = core.random_masks(shapes, densities, source)
        if start == "fresh":
            core.models.initialise(model, "he_normal", source)
        else:
            model.load_state_dict(merged)
        masks.apply(model)
        optimizer = torch.optim.Adam(model.named_parameters(), lr=RATE)
        with core.TopologyController(
            optimizer,
            masks.by_parameter(model),
            drop=dynamic.magnitude,
            grow=GROWTHS[arm.grow][0](),
            fraction=fraction_of(arm, pictures),
            every=EVERY,
            rounding=math.ceil,
            generator=source,
        ) as controller:
            fit(model, optimizer, task, pictures, arm.seed, arm.share)
        own_masks.append(controller.masks)
        merged = {
            name: torch.where(controller.masks[name], weight.detach(), merged[name])
            for name, weight in model.named_parameters()
        }
        model.load_state_dict(merged)
        for earlier, mask in enumerate(own_masks):
            found[task, earlier] = judge(
                lambda x, mask=mask: next(core.run_masked(model, mask, [x])), earlier, pictures, arm.seed
            )
    return found


@dataclass(frozen=True, eq=False)
class Run:
    """One seed at one density."""

    density: float
    seed: int

    @property
    def _arm(self) -> Arm:
        # Half of the steps are enough to learn a pair at these densities, and to destroy it.
        return Arm(self.density, "erk", "random", self.seed, share=0.5)

    @cached_property
    def isolated(self) -> Float64Array:
        """Accuracies with isolation."""
        return learn(self._arm).accuracies

    @cached_property
    def fresh(self) -> float:
        """Mean loss of accuracy on earlier pairs, where each pair starts from new random weights."""
        return _loss(accuracies_without_isolation(self._arm, "fresh"))

    @cached_property
    def earlier(self) -> float:
        """The same where each pair starts from what is there."""
        return _loss(accuracies_without_isolation(self._arm, "earlier"))


def _loss(accuracies: Float64Array) -> float:
    return -float(dynamic.continual_metrics(accuracies).bwt[-1])


def _forgotten(run: Run) -> Measurement:
    """Compare the loss without isolation to a bound, and ask for none at all with isolation.

    Without isolation masks cover the whole last layer, so that pairs also overwrite the outputs of others.
    """
    learned = np.diagonal(run.isolated)
    isolated = float(np.nanmax(np.abs(np.tril(run.isolated - learned))))
    # A change of any size under isolation would refute the claim.
    least = _LOSS if isolated == 0 else np.inf
    return Measurement(least, run.fresh, 1.0, {"largest change with isolation": isolated})


def _from_earlier(run: Run) -> Measurement:
    """Expect at least half the loss from pairs that start from the weights of earlier ones."""
    return Measurement(run.fresh / 2, run.earlier, 1.0)


def _draw(rng: np.random.Generator, density: float) -> Run:
    return Run(density, int(rng.integers(2**31)))


unisolated_loss = Claim(
    name="dynamic_sparsity.unisolated_loss",
    summary="Tasks that start afresh and are not isolated destroy earlier ones; isolated ones lose nothing at all.",
    statement=r"\bar a_{\text{learned}} - \bar a_{\text{final}} > 0.03 \text{ without isolation}, \quad"
    r" = 0 \text{ with it}",
    source=Source.measured("digits in five pairs, a network 64-64-64-10, Erdős-Rényi masks, random growth"),
    verdict=WithProbability(0.9, margin=0.45),
    evaluate=_forgotten,
    near_miss=_from_earlier,
    sweep=Sweep(
        axis="density of a task's mask",
        values=(0.2, 0.3, 0.4),
        draw=_draw,
        trials=12,
        quick_trials=6,
        quick_values=(0.2,),
        measured_label="least loss claimed",
        bound_label="loss without isolation",
        y_label="loss of accuracy on earlier pairs",
    ),
)
