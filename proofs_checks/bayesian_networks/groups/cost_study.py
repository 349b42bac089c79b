"""Study of what training on a subspace costs: nominal operations beside measured time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.bayesian_networks.groups.timed_steps import SIZES, step_costs

_COLUMNS = ("way", "density", "operations of a step", "nominal ratio", "ms of a step", "measured ratio")
_NOTES = (
    "Ratios are dense inference over each way. Operations count products alone: of means, of variances and their "
    "derivatives. Dense products under a mask do all of them, so that they are no faster, whatever the nominal count; "
    "gradients, as autograd stores them, and the optimiser pass through all weights in both ways, which takes much of "
    "what sparse products save. One thread, one swap in 100 steps. Times are of the machine that ran this."
)
# Numbers of ordinary steps and of swaps.
_PROFILES = {"quick": (5, 2), "full": (100, 10)}


def _run(profile: str) -> StudyResult:
    import torch

    n_steps, n_swaps = _PROFILES[profile]
    rows: list[tuple[Any, ...]] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            for density in (0.05,) if profile == "quick" else (0.05, 0.1):
                costs = step_costs(density, n_steps, n_swaps)
                rows += [
                    (
                        cost.name,
                        cost.density,
                        f"{cost.operations:.3g}",
                        round(costs[0].operations / cost.operations, 1),
                        round(1e3 * cost.seconds, 2),
                        round(costs[0].seconds / cost.seconds, 2),
                    )
                    for cost in costs
                ]
    finally:
        torch.set_num_threads(threads)
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


def _plot(rows: Sequence[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        places = np.arange(len(rows))
        for column, shift, label in ((3, -0.2, "nominal operations"), (5, 0.2, "measured time")):
            # From 1 on: to the right of it a way is cheaper than dense inference, to the left more expensive.
            ax.barh(places + shift, [row[column] - 1 for row in rows], 0.4, left=1, label=label)
        ax.set_yticks(places, [f"{row[0]}, {row[1]:.0%}" for row in rows], fontsize=8)
        ax.invert_yaxis()
        ax.axvline(1, color="black", linewidth=1)
        ax.set_xscale("log")
        ax.set_xlabel("dense inference over this way")
        figure.legend(loc="outside lower right", ncols=2, fontsize=8)
        figure.suptitle(f"A training step of a network {'-'.join(map(str, SIZES))}", fontsize=10)

    return draw


training_cost = Study(
    name="bayesian_networks.training_cost",
    title="Nominal operations and measured time of training on a subspace",
    description="Steps of dense variational inference, of a masked dense network on a subspace, and of one with sparse "
    "products, swaps included.",
    run=_run,
)
