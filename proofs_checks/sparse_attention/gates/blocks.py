"""Claims about blocks of attention: their maxima, their masses, the loss of a gate, and how many a row keeps."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_PAPER = "Gao et al., SeerAttention (2024)"
_ARXIV = "2410.13276"
# Scores up to 100 in double precision, of exponentials that are summed over at most 40 keys.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Instance:
    """One head: n queries and keys, features, tokens of a block, the size of scores, causality, and a seed."""

    n: int
    head_dim: int
    block: int
    spread: float
    causal: bool
    seed: int

    @cached_property
    def arrays(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Queries, keys and values."""
        rng = np.random.default_rng(self.seed)
        q, k, v = rng.standard_normal((3, self.n, self.head_dim))
        return q * self.spread, k, v

    @property
    def tensors(self) -> tuple[Any, Any, Any]:
        """The same for torch, with an axis of one head."""
        return tuple(tensor(part[None]) for part in self.arrays)

    @property
    def attention(self) -> Float64Array:
        """The dense softmax, one query after the other."""
        q, k, _ = self.arrays
        p = np.zeros((self.n, self.n))
        for i in range(self.n):
            last = i + 1 if self.causal else self.n
            scores = k[:last] @ q[i] / math.sqrt(self.head_dim)
            p[i, :last] = np.exp(scores - scores.max())
        return p / p.sum(1, keepdims=True)

    @property
    def parts(self) -> list[slice]:
        """Tokens of each block."""
        return [slice(first, min(first + self.block, self.n)) for first in range(0, self.n, self.block)]

    def blocked(self, p: Float64Array, reduce: Any) -> Float64Array:
        """Reduce every block of a matrix."""
        return np.array([[reduce(p[rows, columns]) for columns in self.parts] for rows in self.parts])

    @property
    def mass(self) -> Float64Array:
        """Block masses of the package."""
        q, k, _ = self.tensors
        return array(attention.block_mass(q, k, self.block, self.causal))[0]

    def scores(self, logits: Float64Array) -> Any:
        """Return scores of blocks for selection."""
        return attention.BlockScores(tensor(logits), self.n, self.n, self.block, self.causal)


def _instances() -> st.SearchStrategy[Instance]:
    return st.builds(
        Instance,
        st.integers(1, 40),
        st.integers(1, 8),
        st.integers(1, 9),
        st.sampled_from([0.1, 1.0, 20.0]),
        st.booleans(),
        st.integers(0, 2**32 - 1),
    )


def _maxima(instance: Instance) -> Measurement:
    r"""Compare streamed maxima and masses with those of the dense softmax, and both with each other.

    A sum of ``b_i b_j`` probabilities, each at most the largest, is at most ``b_i b_j`` times that; and no probability
    exceeds 1. Every query of a block spends mass 1.
    """
    q, k, _ = instance.tensors
    found = array(attention.block_max_attention(q, k, instance.block, instance.causal))[0]
    p = instance.attention
    largest, mass = instance.blocked(p, np.max), instance.mass
    sizes = np.array([part.stop - part.start for part in instance.parts])
    return Measurement.worst(
        [
            np.abs(found - largest / largest.sum(1, keepdims=True)).max(),
            np.abs(found.sum(1) - 1).max(),
            np.abs(mass - instance.blocked(p, np.sum)).max(),
            np.abs(mass.sum(1) - sizes).max(),
            np.max(mass / np.outer(sizes, sizes) - largest),
            largest.max() - 1.0,
        ],
        0.0,
        scale=1.0 + instance.spread,
    )


def _unfinished(instance: Instance) -> Measurement:
    """Divide the maximum of a block by the normaliser that is known when the block is visited."""
    p = instance.attention
    largest = instance.blocked(p, np.max)
    early = np.zeros_like(largest)
    for i, rows in enumerate(instance.parts):
        for j, columns in enumerate(instance.parts):
            known = p[rows, : columns.stop].sum(1, keepdims=True)
            early[i, j] = (p[rows, columns] / np.where(known > 0, known, 1.0)).max()
    wanted = largest / largest.sum(1, keepdims=True)
    return Measurement(float(np.abs(early / early.sum(1, keepdims=True) - wanted).max()), 0.0, scale=1.0)


block_maxima = Claim(
    name="sparse_attention.block_maxima",
    summary="Block maxima of the softmax need two numbers a query and block, and bound the mass of a block.",
    statement=r"\max_{r \in i, c \in j} P_{rc} = \max_{r \in i} e^{\max_{c \in j} s_{rc} - \ell_r}, \quad "
    r"\frac{m_{ij}}{b_i b_j} \le \max_{r \in i, c \in j} P_{rc} \le 1, \quad \sum_j m_{ij} = b_i",
    source=Source(_PAPER, "ground truth of the gate; bounds by the mass m_ij are ours", _ARXIV, "authors' code"),
    verdict=Always(_ROUNDING),
    instances=_instances,
    evaluate=_maxima,
    near_miss=_unfinished,
)


def _loss(instance: Instance) -> Measurement:
    """Compare the two reductions of the loss with the sum of all divergences.

    Blocks that causality hides have no target. They count as elements all the same.
    """
    logits, target = _gate_and_target(instance)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        total = float(np.where(target > 0, target * (np.log(target) - log_p), 0.0).sum())
    ours = [float(attention.gate_loss(tensor(logits), tensor(target), way)) for way in ("mean_elements", "kl_row")]
    return Measurement.worst(
        [abs(ours[0] - total / target.size), abs(ours[1] - total / len(target))], 0.0, scale=1.0 + abs(total)
    )


def _one_reduction(instance: Instance) -> Measurement:
    """Take the mean over all elements for the mean divergence of a row."""
    logits, target = _gate_and_target(instance)
    ours = [float(attention.gate_loss(tensor(logits), tensor(target), way)) for way in ("mean_elements", "kl_row")]
    return Measurement(abs(ours[0] - ours[1]), 0.0, scale=1.0)


def _gate_and_target(instance: Instance) -> tuple[Float64Array, Float64Array]:
    q, k, _ = instance.tensors
    target = array(attention.block_max_attention(q, k, instance.block, instance.causal))[0]
    drawn = np.random.default_rng(instance.seed).standard_normal(target.shape)
    return array(instance.scores(drawn).logits), target


gate_loss = Claim(
    name="sparse_attention.gate_loss",
    summary="The loss that gates are trained with is the divergence of a row divided by the number of key blocks.",
    statement=r"\mathrm{KLDivLoss}_{\mathrm{mean}} = \frac{1}{R B} \sum_{r=1}^{R} \mathrm{KL}(G_r \| p_r) = "
    r"\frac{1}{B} \mathrm{KLDivLoss}_{\mathrm{batchmean}}",
    source=Source(_PAPER, "loss of the distillation", _ARXIV, "authors' code"),
    verdict=Always(_ROUNDING),
    instances=_instances,
    evaluate=_loss,
    near_miss=_one_reduction,
)


def _best_rows(instance: Instance, ranked: Float64Array) -> Measurement:
    """Compare the mass that a ranking keeps in each row with the best of all choices of as many blocks."""
    mass = instance.mass
    n_blocks = 1 + instance.seed % len(mass)
    mask = attention.select_blocks(instance.scores(ranked), n_blocks=n_blocks, keep_diagonal=False, dense_last=0)
    dropped = array(attention.dropped_block_mass(tensor(mass), mask))
    best = [max(row[list(kept)].sum() for kept in combinations(range(len(row)), n_blocks)) for row in mass]
    return Measurement.worst(dropped, 1.0 - np.array(best) / mass.sum(1), scale=1.0)


def _oracle(instance: Instance) -> Measurement:
    """Rank blocks by their mass: exchanging a kept block for one that is not can only lose."""
    q, k, _ = instance.tensors
    return _best_rows(instance, array(attention.oracle_scores(q, k, instance.block, instance.causal).logits)[0])


def _by_maximum(instance: Instance) -> Measurement:
    """Rank blocks by their largest probability."""
    q, k, _ = instance.tensors
    with np.errstate(divide="ignore"):
        ranked = np.log(array(attention.block_max_attention(q, k, instance.block, instance.causal))[0])
    return _best_rows(instance, ranked)


oracle_blocks = Claim(
    name="sparse_attention.oracle_blocks",
    summary="Of all choices of k blocks in a row, those of the largest mass drop least; the largest entries need not.",
    statement=r"\sum_{j \in \mathrm{top}_k(m_i)} m_{ij} = \max_{|S| = k} \sum_{j \in S} m_{ij}",
    source=Source.ours("exchange argument on the mass of blocks"),
    verdict=Always(_ROUNDING),
    instances=lambda: _instances().filter(lambda instance: len(instance.parts) <= 10),
    evaluate=_oracle,
    near_miss=_by_maximum,
)


def _whole(instance: Instance, n_blocks: int) -> Measurement:
    q, k, v = instance.tensors
    drawn = np.random.default_rng(instance.seed).standard_normal((len(instance.parts),) * 2)
    mask = attention.select_blocks(instance.scores(drawn), n_blocks=n_blocks, dense_last=0)
    found = array(attention.masked_attention(q, k, v, mask))[0]
    return Measurement(float(np.abs(found - instance.attention @ instance.arrays[2]).max()), 0.0, scale=10.0)


def _all_blocks(instance: Instance) -> Measurement:
    """Keep as many blocks as there are, whatever the scores."""
    return _whole(instance, len(instance.parts))


def _all_but_one(instance: Instance) -> Measurement:
    """Keep one block less in every row."""
    return _whole(instance, max(1, len(instance.parts) - 1))


all_blocks = Claim(
    name="sparse_attention.all_blocks",
    summary="A gate that keeps all blocks is dense attention, causality inside of blocks included.",
    statement=r"k = B \implies \mathrm{att}(Q, K, V, M_k) = \mathrm{softmax}(Q K^\top / \sqrt{d}) V",
    source=Source.ours("definition of a block mask on positions"),
    verdict=Always(_ROUNDING),
    instances=_instances,
    evaluate=_all_blocks,
    near_miss=_all_but_one,
)


@dataclass(frozen=True)
class Triangle:
    """A causal mask of n blocks a side, and the share of its blocks to keep."""

    n: int
    density: float


def _share(triangle: Triangle, k: int) -> float:
    """Return the share of the pairs of blocks that k a row keep, by selection."""
    n = triangle.n
    scores = attention.BlockScores(tensor(np.zeros((n, n))), n, n, 1, True)
    kept = attention.select_blocks(scores, n_blocks=k, dense_last=0).visible
    return int(kept.sum()) / (n * (n + 1) / 2)


def _triangle(triangle: Triangle) -> Measurement:
    r"""Count the kept pairs of blocks, and compare the count with the density asked for.

    Row i of n keeps ``min(i, k)`` blocks, together ``k n - k (k - 1) / 2``. Over ``n (n + 1) / 2`` this is
    ``(n (2 kappa - kappa^2) + kappa) / (n + 1)`` with ``kappa = k / n``. The rule solves ``2 x - x^2 = density`` and
    takes ``k = floor(x n)``, so kappa is below x by less than 1 / n, and the slope of ``2 x - x^2`` is at most 2.
    """
    n = triangle.n
    k = attention.blocks_per_row(triangle.density, n, True)
    kappa, share = k / n, _share(triangle, k)
    exact = 2 * kappa - kappa**2 - kappa * (1 - kappa) / (n + 1)
    forced = 1.0 - math.sqrt(1.0 - triangle.density) < 1.0 / n
    below = 0.0 if forced else triangle.density - share - 2 / n - 1 / (4 * (n + 1))
    above = 0.0 if forced else share - triangle.density
    return Measurement.worst([abs(share - exact), below, above], 0.0, scale=1.0)


def _as_without_causality(triangle: Triangle) -> Measurement:
    """Keep the share of every row that is asked for of the whole."""
    k = max(1, math.floor(triangle.density * triangle.n))
    return Measurement(_share(triangle, k) - triangle.density, 0.0 if k > 1 else 1.0, scale=1.0)


triangle_share = Claim(
    name="sparse_attention.triangle_share",
    summary="k blocks in every causal row keep 2x - x^2 of all with x = k/n, but for a term that falls as 1/n.",
    statement=r"\frac{\sum_i \min(i, k)}{n (n + 1) / 2} = 2 \kappa - \kappa^2 - \frac{\kappa (1 - \kappa)}{n + 1}, "
    r"\quad \kappa = \frac{k}{n} = \frac{\lfloor (1 - \sqrt{1 - \rho}) n \rfloor}{n} \implies "
    r"0 \le \rho - \mathrm{share} \le \frac{2}{n} + \frac{1}{4 (n + 1)}",
    source=Source(_PAPER, "rule of selection by a ratio; the finite term is ours", _ARXIV, "authors' code"),
    # The rule counts a product as whole that is off by 1e-9 of rounding.
    verdict=Always(1e-8),
    instances=lambda: st.builds(Triangle, st.integers(1, 60), st.floats(0.001, 1.0)),
    evaluate=_triangle,
    near_miss=_as_without_causality,
)
