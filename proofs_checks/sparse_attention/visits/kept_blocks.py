"""Claims about attention over kept blocks: what it computes, whatever computes it, and in which order."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["dense_outputs"]

# Relative to (1 + largest score)(1 + largest value), in float64.
_ROUNDING = 1e-12


def dense_outputs(scores: Float64Array, v: Float64Array) -> Float64Array:
    """Return softmax attention from scores, minus infinity where a key is not seen."""
    weight = np.exp(scores - scores.max(-1, keepdims=True))
    outputs: Float64Array = weight @ v / weight.sum(-1, keepdims=True)
    return outputs


@dataclass(frozen=True)
class Blocks:
    """A masked attention of two heads that share keys, given by its sizes and a seed.

    Parameters
    ----------
    n, more : int
        Queries, and how many keys there are besides.
    block : tuple of int
        Queries and keys of a block; last ones are often short.
    causal, ordered : bool
        Whether later keys are hidden, and whether queries and keys are permuted before they are cut into blocks.
    size : float
        Standard deviation of queries.
    seed : int
        Of everything else.
    """

    n: int
    more: int
    block: tuple[int, int]
    causal: bool
    ordered: bool
    size: float
    seed: int

    @cached_property
    def arrays(self) -> tuple[Float64Array, Float64Array, Float64Array, BoolArray, IndexArray, IndexArray]:
        """Queries, keys, values, blocks, and both permutations."""
        rng = np.random.default_rng(self.seed)
        m, (rows, columns) = self.n + self.more, self.block
        q = self.size * rng.standard_normal((2, self.n, 4))
        k, v = rng.standard_normal((2, 1, m, 4))
        kept = rng.random((2, -(-self.n // rows), -(-m // columns))) < 0.4
        orders = [rng.permutation(length) if self.ordered else np.arange(length) for length in (self.n, m)]
        return q, k, v, kept, orders[0], orders[1]

    @cached_property
    def mask(self) -> Any:
        """The mask, in which each query sees the key of its position in any case."""
        _, k, _, kept, rows, columns = self.arrays
        orders = {"perm_q": tensor(rows), "perm_k": tensor(columns)}
        return attention.BlockMask(
            tensor(kept), self.n, k.shape[1], self.block, self.causal, **orders, keep_diagonal=True
        )

    def hidden(self, *, by_place: bool = False) -> BoolArray:
        """Return which pairs are not to be seen, pair by pair from the definition, or with causality by place."""
        q, k, _, _, rows, columns = self.arrays
        place_q, place_k = np.argsort(rows), np.argsort(columns)
        blocks = array(self.mask.blocks)
        hidden = np.empty((2, q.shape[1], k.shape[1]), dtype=bool)
        for head, i, j in np.ndindex(*hidden.shape):
            seen = blocks[head, place_q[i] // self.block[0], place_k[j] // self.block[1]]
            query, key = (place_q[i], place_k[j]) if by_place else (i, j)
            hidden[head, i, j] = not seen or (self.causal and key > query + self.more)
        return hidden

    @property
    def scale(self) -> float:
        """What rounding is relative to."""
        q, k, v, *_ = self.arrays
        return float((1 + np.abs(q @ k.mT / 2).max()) * (1 + np.abs(v).max()))


def _instances(*, causal: st.SearchStrategy[bool] | None = None) -> st.SearchStrategy[Blocks]:
    sizes = st.tuples(st.integers(1, 5), st.integers(1, 5))
    flags = st.booleans()
    spread = st.sampled_from([0.1, 2.0, 40.0])
    return st.builds(
        Blocks,
        st.integers(1, 12),
        st.integers(0, 6),
        sizes,
        flags if causal is None else causal,
        flags,
        spread,
        st.integers(0, 2**32 - 1),
    )


def _distance(given: Blocks, *, by_place: bool = False) -> Measurement:
    q, k, v, *_ = given.arrays
    scores = np.where(given.hidden(by_place=by_place), -np.inf, q @ k.mT / 2)
    with np.errstate(invalid="ignore"):
        expected = dense_outputs(scores, v)
    found = [
        array(attention.masked_attention(tensor(q), tensor(k), tensor(v), given.mask, backend=backend))
        for backend in ("dense", "gather", "online")
    ]
    return Measurement(float(max(np.abs(out - expected).max() for out in found)), 0.0, scale=given.scale)


def _by_place(given: Blocks) -> Measurement:
    """Hide later keys by their place in the permuted order."""
    return _distance(given, by_place=True)


kept_blocks = Claim(
    name="sparse_attention.kept_blocks",
    summary="Masked attention is softmax over the pairs of kept blocks that causality allows, by every backend.",
    statement=r"o_i = \frac{\sum_{j \in S_i} e^{s_{ij}} v_j}{\sum_{j \in S_i} e^{s_{ij}}},\quad "
    r"S_i = \{j : B(\pi^{-1}(i), \rho^{-1}(j)) = 1,\ j \le i + m - n\}",
    source=Source.ours("an online softmax over blocks, and gathered blocks, against the definition"),
    verdict=Always(rtol=_ROUNDING),
    instances=_instances,
    evaluate=_distance,
    near_miss=_by_place,
)


def _moved(given: Blocks, *, values: bool = True) -> Measurement:
    """Compare a mask on permuted places with the same mask of permuted sequences."""
    q, k, v, _, rows, columns = given.arrays
    plain = attention.BlockMask(given.mask.blocks, given.n, k.shape[1], given.block)
    distances = []
    backends: tuple[Literal["gather", "online"], ...] = ("gather", "online")
    for backend in backends:
        out = attention.masked_attention(tensor(q), tensor(k), tensor(v), given.mask, backend=backend)
        sequences = (tensor(q[:, rows]), tensor(k[:, columns]), tensor(v[:, columns] if values else v))
        moved = attention.masked_attention(*sequences, plain, backend=backend)
        distances.append(float(np.abs(array(moved) - array(out)[:, rows]).max()))
    return Measurement(max(distances), 0.0, scale=given.scale)


def _values_stay(given: Blocks) -> Measurement:
    """Leave the values in their order."""
    return _moved(given, values=False)


permuted_blocks = Claim(
    name="sparse_attention.permuted_blocks",
    summary="Attention of permuted sequences under a permuted mask is the attention, permuted.",
    statement=r"\mathrm{att}(Q_\pi, K_\rho, V_\rho, M_{\pi\rho}) = \mathrm{att}(Q, K, V, M)_\pi",
    source=Source.ours("sums do not depend on the order of their terms"),
    verdict=Always(rtol=_ROUNDING),
    instances=lambda: _instances(causal=st.just(False)),
    evaluate=_moved,
    near_miss=_values_stay,
)
