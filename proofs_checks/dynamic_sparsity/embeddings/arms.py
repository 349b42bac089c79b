"""All ways to spend a budget of entries on two embedding tables, each with what it finds and what it costs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.feedback import Feedback
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.recommenders import (
    DIM,
    Recipe,
    Recommender,
    greedy_start,
    refilled,
)

__all__ = ["ARMS", "Outcome", "outcomes", "references"]


@dataclass(frozen=True)
class Outcome:
    """What a recommender finds, and what it costs.

    Parameters
    ----------
    recall, ndcg : float
        At 20.
    correlation : float
        Rank correlation of the entries of an item and its users.
    n_empty_rows : int
        Of both tables.
    macs : float
        Multiplications of a score, in the mean over all pairs.
    training : float
        Operations of training, as a share of those of the dense tables.
    kind : str
        Of sparse training, as :func:`sparsetheory.gpu.core.taxonomy_of` has it.
    explored : float
        Share of the entries that were ever active.
    """

    recall: float
    ndcg: float
    correlation: float
    n_empty_rows: int
    macs: float
    training: float
    kind: str
    explored: float


def references(feedback: Feedback) -> dict[str, tuple[float, float]]:
    """Return recall and gain of rankings without training: by popularity, and by truncated decompositions."""
    import torch

    train, test = feedback.tensors
    popularity = train.double().sum(0).expand(train.shape)
    left, values, right = torch.linalg.svd(train.double(), full_matrices=False)
    ranks = {f"PureSVD of rank {k}": (left[:, :k] * values[:k]) @ right[:k] for k in (8, 16)}
    scores = {"popularity": popularity, **ranks}
    return {name: dynamic.recall_ndcg(found, train, test) for name, found in scores.items()}


# What an arm is called, how its training counts, and the arguments of its recommender.
_TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "fixed random mask": ("static", {}),
    "dynamic, random growth": ("set", {"growth": "random"}),
    "dynamic, last batch": ("rigl", {"growth": "last batch"}),
    "dynamic, accumulated": ("dense_gradient", {"growth": "accumulated"}),
    "dynamic, accumulated, one budget": ("dense_gradient", {"growth": "accumulated", "budget": "global"}),
}
_PRUNED, _SMALL, _DENSE = "pruned by magnitude, tuned", "small dense tables", "dense tables"
_GREEDY = {"greedy mask, fixed": None, "greedy mask, dynamic": "accumulated"}
_GREEDY_ROWS = "greedy rows, fixed mask"
ARMS = (_DENSE, _SMALL, *_TRAINED, _PRUNED, *_GREEDY, _GREEDY_ROWS)


def outcomes(feedback: Feedback, density: float, seed: int, recipe: Recipe) -> Iterator[tuple[str, Outcome]]:
    """Train all arms, and yield the name and the outcome of each."""
    dense = Recommender(feedback, seed, recipe)
    whole = core.training_flops("dense", _forward(DIM), _forward(DIM), recipe.n_steps).total
    yield _DENSE, _outcome(dense, 1.0)
    small = max(1, round(density * DIM))
    yield _SMALL, _outcome(Recommender(feedback, seed, recipe, dim=small), small / DIM)
    for name, (kind, options) in _TRAINED.items():
        arm = Recommender(feedback, seed, recipe, density, **options)
        yield name, _outcome(arm, _training(arm, kind) / whole)
    pruned = Recommender(feedback, seed, recipe, density, rows=_largest(dense, density))
    yield _PRUNED, _outcome(pruned, 1.0 + _training(pruned, "static") / whole, dense_first=True)
    rows = greedy_start(feedback, density)
    mask = refilled(rows, seed)
    for name, growth in _GREEDY.items():
        arm = Recommender(feedback, seed, recipe, density, growth, rows=mask)
        yield name, _outcome(arm, _training(arm, "dense_gradient" if growth else "static") / whole)
    arm = Recommender(feedback, seed, recipe, density, rows=rows)
    yield _GREEDY_ROWS, _outcome(arm, _training(arm, "static") / whole)


def _forward(multiplications: float) -> float:
    """Return the operations of the two scores of a triple."""
    return 2 * 2 * multiplications


def _training(arm: Recommender, kind: str) -> float:
    details = {"period": arm.recipe.every} if kind == "rigl" else {}
    sparse = _forward(_macs(arm, arm.feedback.train))
    return core.training_flops(kind, _forward(DIM), sparse, arm.recipe.n_steps, **details).total


def _macs(arm: Recommender, observed: Any = None) -> float:
    """Return the mean multiplications of a score: of all pairs, or half of them those observed, as in training."""
    model = arm.trained[0]
    counts = dynamic.score_macs(model.users.mask, model.items.mask).double().numpy()
    everywhere = float(counts.mean())
    return everywhere if observed is None else (everywhere + float(counts[observed].mean())) / 2


def _outcome(arm: Recommender, training: float, *, dense_first: bool = False) -> Outcome:
    controller = arm.trained[1]
    path = controller.trajectory
    # Tables that were dense first have one entry more in their history.
    kind = core.taxonomy_of([(0, "dense", 1.0), (arm.recipe.n_steps, *path[-1][1:])] if dense_first else path)
    return Outcome(
        *arm.quality,
        arm.popularity_correlation,
        controller.n_empty_rows_,
        _macs(arm),
        training,
        kind.kind,
        1.0 if kind.explored is None else kind.explored,
    )


def _largest(dense: Recommender, density: float) -> tuple[Any, Any]:
    """Return the tables of a trained recommender with the largest entries of each."""
    pruned = []
    for table in (dense.trained[0].users, dense.trained[0].items):
        weight = table.weight.detach()
        cut = float(np.sort(np.abs(weight.numpy()), axis=None)[-round(density * weight.numel())])
        pruned.append(weight.masked_fill(weight.abs() < cut, 0.0))
    return pruned[0], pruned[1]
