"""Claims about what pruned keys and values do to the output of attention."""

import math
from itertools import combinations
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist
from scipy.special import softmax

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.sparse_attention.cache.instances import Pruning, draw_pruning, prunings
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Of scores up to some hundreds and at most 12 or 24 keys in double precision.
_ROUNDING = 1e-12
_SIZES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def _pruned(x: Float64Array, sparsity: float) -> Float64Array:
    return array(attention.prune_tokens(tensor(x), sparsity))


def _weights(q: Float64Array, k: Float64Array) -> Float64Array:
    return np.asarray(softmax(q @ k.T / math.sqrt(q.shape[1]), axis=1))


def _sweep(measured_label: str, y_label: str) -> Sweep:
    return Sweep(
        axis="scale of the query",
        values=_SIZES,
        draw=draw_pruning,
        trials=50,
        quick_trials=10,
        log="x",
        measured_label=measured_label,
        y_label=y_label,
    )


def _values(p: Pruning) -> Measurement:
    """Compare the change of the output with the mean change of a value, and with the largest one."""
    a, change = _weights(p.q, p.k), _pruned(p.v, p.v_sparsity) - p.v
    bound = array(attention.value_pruning_bound(tensor(a), tensor(change)))
    largest = {"largest change": float(np.linalg.norm(change, axis=1).max())}
    return Measurement.chain(float(np.linalg.norm(a @ change)), float(bound[0]), largest, scale=1.0)


value_pruning = Claim(
    name="sparse_attention.value_pruning",
    summary="Pruned values move the output by at most the mean length of what they lost, weighted by attention.",
    statement=r"\|o - \tilde o\| \le \sum_t a_t \|\Delta v_t\| \le \max_t \|\Delta v_t\|",
    source=Source.classic("folklore", "triangle inequality"),
    verdict=Always(rtol=_ROUNDING),
    instances=prunings,
    evaluate=_values,
    near_miss=0.9,
    sweep=_sweep("change of the output", "norm"),
)


def _keys(p: Pruning) -> Measurement:
    """Compare the total variation with its bounds, and the change of the output with the diameter times the first.

    A set of keys whose scores rise by at most eta, while the others fall by at most eta, gains most if its mass was
    ``1 / (1 + e**eta)``; it then gains ``tanh(eta / 2)``.
    """
    pruned = _pruned(p.k, p.k_sparsity)
    change = tensor(pruned - p.k)
    old, new = _weights(p.q, p.k), _weights(p.q, pruned)
    bound = float(attention.key_pruning_bound(tensor(p.q), change)[0])
    a_priori = float(attention.key_pruning_bound(tensor(p.q), change, a_priori=True)[0])
    found = Measurement.chain(float(np.abs(old - new).sum() / 2), bound, {"from norms alone": a_priori}, scale=1.0)
    diameter = float(pdist(p.v).max(initial=0.0))
    moved = float(np.linalg.norm((old - new) @ p.v))
    return found.and_chain({"change of the output": moved, "diameter times bound": bound * diameter})


key_pruning = Claim(
    name="sparse_attention.key_pruning",
    summary="Pruned keys change attention by at most a function of the range of the changes of its scores.",
    statement=r"\mathrm{TV}(p, \tilde p) \le \tanh(\eta/2),\ \eta = \tfrac12 \mathrm{range}_t\,"
    r" q^\top \Delta k_t / \sqrt D \le \|q\| \max_t \|\Delta k_t\| / \sqrt D",
    source=Source.ours("largest gain of a set of keys whose scores rise"),
    verdict=Always(rtol=_ROUNDING),
    instances=prunings,
    evaluate=_keys,
    near_miss=0.8,
    sweep=_sweep("total variation", "total variation, and change of the output"),
)


def _cache(p: Pruning) -> tuple[Any, float]:
    """Return the bound of a cache that holds the tokens, the last one unpruned, and the change of its output."""
    cache = attention.SparseKVCache(window=1, k_sparsity=p.k_sparsity, v_sparsity=p.v_sparsity)
    q, k, v = (tensor(x[None, None]) for x in (p.q, p.k, p.v))
    cache.append(k, v)
    moved = array(cache.attend(q))[0, 0] - _weights(p.q, p.k) @ p.v
    return cache.error_bound(q), float(np.linalg.norm(moved))


def _both(p: Pruning) -> Measurement:
    """Compare what a cache says of itself with the truth."""
    bound, moved = _cache(p)
    return Measurement(moved, float(bound.output_change), scale=1.0)


def _values_alone(p: Pruning) -> Measurement:
    """Forget that attention changes too."""
    bound, moved = _cache(p)
    return Measurement(moved, float(bound.value_change), scale=1.0)


cache_error = Claim(
    name="sparse_attention.cache_error",
    summary="A cache bounds the change of its output from the norms of what it dropped.",
    statement=r"\|o - \tilde o\| \le \tanh(\eta/2) \cdot 2 \max_t \|v_t\| + \sum_t \tilde p_t \|\Delta v_t\|",
    source=Source.ours("keys first, then values under the new attention"),
    verdict=Always(rtol=_ROUNDING),
    instances=prunings,
    evaluate=_both,
    near_miss=_values_alone,
    sweep=_sweep("change of the output", "norm"),
)


def _dropped(p: Pruning) -> Float64Array:
    return np.linalg.norm(p.k - _pruned(p.k, p.k_sparsity), axis=1)


def _least(p: Pruning) -> Float64Array:
    """Return the least error of each token over all masks of the same size."""
    width = p.k.shape[1]
    gone = math.floor(p.k_sparsity * width)
    choices = np.array(list(combinations(range(width), gone)), dtype=int).reshape(math.comb(width, gone), gone)
    return np.linalg.norm(p.k[:, choices], axis=2).min(1)


def _best(p: Pruning) -> Measurement:
    """Compare each token with all masks of its size."""
    return Measurement.worst(_dropped(p), _least(p), scale=1.0)


def _of_signed_entries(p: Pruning) -> Measurement:
    """Keep the largest entries rather than the largest magnitudes."""
    gone = math.floor(p.k_sparsity * p.k.shape[1])
    return Measurement.worst(np.linalg.norm(np.sort(p.k, axis=1)[:, :gone], axis=1), _least(p), scale=1.0)


best_terms = Claim(
    name="sparse_attention.best_terms",
    summary="No other mask of the same size loses less of a token.",
    statement=r"\|x - \tilde x\|_2 = \min_{|S| = D - \lfloor sD \rfloor} \|x - x_S\|_2",
    source=Source.classic("folklore", "best k-term approximation"),
    verdict=Always(rtol=_ROUNDING),
    instances=prunings,
    evaluate=_best,
    near_miss=_of_signed_entries,
)


def _stechkin(p: Pruning) -> Measurement:
    """Compare the best errors of all tokens with the bounds of three norms."""
    x = tensor(p.k)
    errors, bounds = [], []
    for count in range(1, p.k.shape[1] + 1):
        error = array(attention.sigma_k(x, count))
        for power in (0.5, 1.0, 1.5):
            errors.append(error)
            bounds.append(array(attention.stechkin_bound(x, count, power)))
    return Measurement.worst(np.array(errors), np.array(bounds), scale=float(np.abs(p.k).sum()))


stechkin = Claim(
    name="sparse_attention.stechkin",
    summary="The error of the best k terms falls as a power of k that a norm of the vector decides.",
    statement=r"\sigma_k(x)_2 \le c_q \|x\|_q\, k^{1/2 - 1/q}, \quad c_1 = \tfrac12",
    source=Source.classic("Stechkin; Foucart and Rauhut (2013), Theorem 2.5", "best k-term approximation"),
    verdict=Always(rtol=_ROUNDING),
    instances=prunings,
    evaluate=_stechkin,
    near_miss=0.9,
)
