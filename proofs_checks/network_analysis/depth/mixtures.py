"""Identities of the branches that sparsity thins out: attention over positions, groups of heads, and experts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights of a mixture, which sum to 1, and the variance of what is mixed.

    Parameters
    ----------
    weights : ndarray of shape (n,)
    variance : float
    """

    weights: Float64Array
    variance: float


@st.composite
def _mixtures(draw: Any) -> Mixture:
    """Draw attention of any sharpness, or the gates of the k chosen experts."""
    n, seed = draw(st.integers(1, 8)), draw(st.integers(0, 2**32 - 1))
    logits = draw(st.sampled_from((0.0, 1.0, 10.0))) * np.random.default_rng(seed).standard_normal(n)
    kept = logits >= np.sort(logits)[-draw(st.integers(1, n))]
    gates = np.where(kept, np.exp(logits - logits.max()), 0.0)
    return Mixture(gates / gates.sum(), draw(st.sampled_from((0.5, 1.0, 3.0))))


def _mixed(mixture: Mixture, *, flat: bool) -> Measurement:
    """Compare with the mean over all signs of the mixed vectors, which are uncorrelated over these."""
    a, n = mixture.weights, len(mixture.weights)
    signs = np.array(np.meshgrid(*[(-1.0, 1.0)] * n)).reshape(n, -1)
    expected = mixture.variance * float(np.mean((a @ signs) ** 2))
    kept = int(np.count_nonzero(a))
    found = mixture.variance / kept if flat else float(analysis.mixture_variance(tensor(a), mixture.variance))
    between = {"one over all": mixture.variance / kept, "found": found, "one": mixture.variance}
    return Measurement(abs(found - expected), 0.0, mixture.variance).and_chain(between)


mixture_variance = Claim(
    name="network_analysis.mixture_variance",
    summary="Attention over independent values, or experts mixed by gates, have the variance times the sum of squares.",
    statement=r"\operatorname{var} \sum_j a_j v_j = \sigma^2 \sum_j a_j^2 \in [\sigma^2 / k, \sigma^2],"
    r" \quad a_j \ge 0,\ \sum_j a_j = 1,\ k \text{ of them positive}",
    source=Source.classic("folklore", "variance of a weighted sum of uncorrelated numbers"),
    verdict=Always(1e-12),
    instances=_mixtures,
    evaluate=lambda mixture: _mixed(mixture, flat=False),
    near_miss=lambda mixture: _mixed(mixture, flat=True),
)


@dataclass(frozen=True, eq=False)
class Groups:
    """Queries of several heads, keys and values of fewer ones.

    Parameters
    ----------
    seed : int
    n_groups : int
        Heads of keys and values.
    size : int
        Heads of queries that share one of them.
    n_tokens : int
    """

    seed: int
    n_groups: int
    size: int
    n_tokens: int


def _groups() -> st.SearchStrategy[Groups]:
    return st.builds(Groups, st.integers(0, 2**31 - 1), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))


def _grouped(groups: Groups, *, tiled: bool) -> Measurement:
    """Compare grouped attention with attention of all heads whose keys and values are repeated, written out."""
    from torch.nn import functional

    rng = np.random.default_rng(groups.seed)
    heads, width = groups.n_groups * groups.size, 4
    q = rng.standard_normal((1, heads, groups.n_tokens, width))
    k, v = rng.standard_normal((2, 1, groups.n_groups, groups.n_tokens, width))
    found = functional.scaled_dot_product_attention(tensor(q), tensor(k), tensor(v), is_causal=True, enable_gqa=True)
    if tiled:
        keys, values = (np.tile(part, (1, groups.size, 1, 1)) for part in (k, v))
    else:
        keys, values = (np.repeat(part, groups.size, axis=1) for part in (k, v))
    scores = q @ keys.swapaxes(-1, -2) / np.sqrt(width)
    scores[..., np.triu(np.ones((groups.n_tokens, groups.n_tokens), dtype=bool), 1)] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = (weights / weights.sum(-1, keepdims=True)) @ values
    return Measurement(float(np.abs(array(found) - expected).max()), 0.0, 1.0)


grouped_queries = Claim(
    name="network_analysis.grouped_queries",
    summary="Attention with grouped queries is that of all heads with repeated keys and values.",
    statement=r"\text{GQA}(Q, K, V) = \text{MHA}(Q, K \otimes 1_g, V \otimes 1_g), \quad 1_1 = 1",
    source=Source(
        "Ainslie et al., GQA: training generalized multi-query transformer models (2023)", "S2", "2305.13245"
    ),
    verdict=Always(1e-12),
    instances=_groups,
    evaluate=lambda groups: _grouped(groups, tiled=False),
    near_miss=lambda groups: _grouped(groups, tiled=True),
)
