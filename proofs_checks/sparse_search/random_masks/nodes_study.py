"""How nearly the quality of a random mask is a linear function of its nodes, as bandits would have it."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory import bandits
from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, search
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.sparse_search.random_masks.digits_pairs import DIGITS, split
from sparsetheory.proofs_checks.sparse_search.random_masks.together import Together
from sparsetheory.typing import Float64Array

_WIDTHS, _DENSITY, _N_NONZERO = (64, 10, 10, 10), 0.5, 3
_BUDGETS = (0, 10, 100)
_CANDIDATES = 600
_QUERIES = 60
_PARENTS = 5
_COLUMNS = (
    "parent",
    "steps",
    "range of losses",
    "explained",
    "least error, all nodes",
    "least error, 3 nodes",
    "gap of the linear choice",
    "gap of the best of 60",
)
_NOTES = (
    "Candidates keep half of 10 and 10 hidden nodes; rewards are minus training losses after some steps, of mean 0. "
    "Explained is the share of their variance that a linear function of the nodes, fitted to half of the candidates, "
    "explains in the other half. Least errors are certified lower bounds of the misspecification: no linear function "
    "on all nodes, or on 3, is nearer to all rewards. Gaps say how much worse than the best candidate the choice is "
    "that a sparse regression makes from 60 answers, and the best of these 60. Nodes explain about half of the "
    "variance, and the least errors are a fifth to two fifths of the range: the best of what was tried is the better "
    "choice, and a guarantee in units of the misspecification promises nothing here."
)


def _row(seed: int, steps: int) -> tuple[Any, ...]:
    import torch

    data, model = split(DIGITS), core.models.MLP(_WIDTHS, generator=seed)
    sampler, source = search.NodeSampler(_DENSITY), torch.Generator().manual_seed(seed)
    masks = [sampler(model, source) for _ in range(_CANDIDATES)]
    together = Together([search.remove_nodes(model, one) for one in masks], data.train)
    rewards = -(together.go(steps) if steps else together).losses(data.train)
    # Signs and mean 0: a few nodes then speak for themselves, and not for what all candidates have in common.
    rewards -= rewards.mean()
    features = 2 * array(search.node_indicators(masks)) - 1
    half = len(features) // 2
    theta = np.linalg.lstsq(features[:half], rewards[:half], rcond=None)[0]
    left = rewards[half:] - features[half:] @ theta
    explained = 1 - left.var() / rewards[half:].var()
    least = [
        bandits.estimate_eps(features[:half], rewards[:half], s).eps_lower for s in (features.shape[1], _N_NONZERO)
    ]
    chosen, best = _gaps(features, rewards, seed)
    found = (float(np.ptp(rewards)), float(explained), *least, chosen, best)
    return seed, steps, *(round(number, 4) for number in found)


def _gaps(features: Float64Array, rewards: Float64Array, seed: int) -> tuple[float, float]:
    """Return the gaps of what a sparse regression chooses from some answers, and of the best of these."""
    problem = bandits.LinearBanditProblem(features, rewards=rewards)
    # The estimator allows for an error of its own; here it only sets how strong the penalty is.
    eps = 0.01 * float(np.ptp(rewards))
    search_by = bandits.SparseRegressionBandit(
        _N_NONZERO, eps=eps, estimator="lasso", n_samples=_QUERIES, random_state=seed
    )
    with warnings.catch_warnings():
        # What is proved of the choice is larger than the range of the rewards: the study says so.
        warnings.simplefilter("ignore", bandits.VacuousBoundWarning)
        fitted = search_by.fit(problem)
    return problem.gap(fitted.action_), float(rewards.max() - fitted.observed_.max())


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for number, label in ((3, "share of variance explained"),):
            ax.plot([row[1] for row in rows], [row[number] for row in rows], "o", label=label)
        for number, marker, label in ((4, "s", "all nodes"), (5, "^", "3 nodes")):
            shares = [row[number] / row[2] for row in rows]
            ax.plot([row[1] for row in rows], shares, marker, label=f"least error over range, {label}")
        ax.set_xscale("symlog", linthresh=10)
        ax.set_xlabel("steps of training")
        ax.set_ylabel("share")
        ax.set_ylim(-0.05, 1.05)
        ax.set_title("Losses of random masks as linear functions of their nodes")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows = [_row(seed, steps) for seed in range(_PARENTS) for steps in _BUDGETS]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


linear_in_nodes = Study(
    name="sparse_search.linear_in_nodes",
    title="Random masks as actions of a sparse linear bandit",
    description="Which nodes a random mask keeps are the features of an action, and minus the loss after some training "
    "is its reward. The study bounds how far rewards are from linear functions, and lets a sparse regression choose.",
    run=_run,
)
