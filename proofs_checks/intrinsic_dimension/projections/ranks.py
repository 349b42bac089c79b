"""Claims about which sets of solutions a random subspace meets."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.intrinsic_dimension.projections.kinds import KINDS, Case
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.verdicts import Always, Attains, WithProbability
from sparsetheory.typing import Float64Array

__all__ = ["block_sums", "rank_in_subspace"]

_PAPER = ("Li, Farkhoor, Liu, Yosinski, Measuring the Intrinsic Dimension of Objective Landscapes, 2018", "1804.08838")


def block_sums(n_blocks: int, size: int) -> Float64Array:
    """Return the matrix that sums over blocks of neighbours."""
    return np.repeat(np.eye(n_blocks), size, axis=1)


def rank_in_subspace(case: Case, matrix: Float64Array) -> int:
    """Return the rank of a matrix times a projection."""
    return int(np.linalg.matrix_rank(matrix @ case.matrix))


@dataclass(frozen=True)
class Conditions:
    """Linear conditions on D numbers, and a seed of a projection to them.

    Parameters
    ----------
    structure : str
        "gaussian", "blocks" of 8 neighbours, or "copies" of few rows.
    n_rows : int
    d : int
    seed : int
    """

    structure: str
    n_rows: int
    d: int
    seed: int

    @property
    def matrix(self) -> Float64Array:
        """The conditions, as rows."""
        rng = np.random.default_rng(self.seed)
        if self.structure == "blocks":
            return block_sums(8, 8)[: self.n_rows]
        if self.structure == "copies":
            return np.eye(64)[rng.integers(0, 3, self.n_rows)]
        return rng.standard_normal((self.n_rows, 64))

    def missing(self, kind: str) -> Measurement:
        """Return by how much the rank differs from what it can be at most."""
        A = self.matrix
        most = min(self.d, int(np.linalg.matrix_rank(A)))
        return Measurement(abs(most - rank_in_subspace(Case(kind, self.d, 64, self.seed), A)), 0.0, scale=1.0)


dense_rank = Claim(
    name="intrinsic_dimension.dense_rank",
    summary="A dense random subspace meets linear conditions of any structure as soon as it has as many dimensions.",
    statement=r"\operatorname{rank}(A P) = \min(d, \operatorname{rank} A)",
    source=Source.classic("folklore", "Gaussian columns are in general position almost surely"),
    verdict=Always(rtol=0.0),
    instances=lambda: st.builds(
        Conditions, st.sampled_from(("gaussian", "blocks", "copies")), st.integers(1, 8), st.integers(1, 12), seeds
    ),
    evaluate=lambda conditions: conditions.missing("dense"),
    near_miss=lambda conditions: conditions.missing("fastfood"),
)

_TOY_BLOCKS, _TOY_SIZE = 10, 100
# Squared norms of what is left, relative to the target: rounding on one side, a missing dimension on the other.
_NOTHING, _REACHED, _MISSED = 1e-40, 1e-20, 1e-8


def _toy_case(rng: np.random.Generator, d: float) -> tuple[int, int]:
    return int(d), int(rng.integers(2**31))


def _toy(instance: tuple[int, int], least: int = _TOY_BLOCKS) -> Measurement:
    """Sum ten blocks of 100 numbers: reaching the sums 1 to 10 exactly leaves a set of codimension ten."""
    d, seed = instance
    target = np.arange(1.0, _TOY_BLOCKS + 1)
    lefts = []
    for kind in KINDS:
        reached = block_sums(_TOY_BLOCKS, _TOY_SIZE) @ Case(kind, d, _TOY_BLOCKS * _TOY_SIZE, seed).matrix
        residual = target - reached @ np.linalg.lstsq(reached, target, rcond=None)[0]
        lefts.append(float(residual @ residual / (target @ target)))
    if d >= least:
        return Measurement.chain(_NOTHING, max(_NOTHING, *lefts), {"at most": _REACHED})
    return Measurement.chain(_MISSED, min(lefts), {"at most": 1.0})


block_sum_dimension = Claim(
    name="intrinsic_dimension.block_sum_dimension",
    summary="The loss of ten sums over blocks of 100 numbers reaches zero in a random subspace from ten dimensions on.",
    statement=r"\min_t \sum_{i=1}^{10} \Bigl(\sum_{j \in \text{block } i} (P t)_j - i\Bigr)^2 = 0 \iff d \ge 10",
    source=Source(_PAPER[0], "toy example", _PAPER[1]),
    verdict=WithProbability(0.99, margin=0.2),
    evaluate=_toy,
    near_miss=lambda instance: _toy(instance, least=_TOY_BLOCKS - 1),
    sweep=Sweep(
        axis="dimensions of the subspace",
        values=(2.0, 5.0, 8.0, 9.0, 10.0, 11.0, 20.0),
        quick_values=(9.0, 10.0, 11.0),
        draw=_toy_case,
        trials=100,
        quick_trials=21,
        log="y",
        measured_label="at least",
        bound_label="least loss in the subspace",
        y_label="loss relative to the start",
    ),
)


@dataclass(frozen=True)
class DyadicSums:
    """Sums over blocks whose number and length are powers of two, and a fastfood projection.

    Parameters
    ----------
    block_bits : int
        2 to this power is the number of blocks.
    size_bits : int
        2 to this power is the length of each.
    d_bits : int
        2 to this power is the dimension of the subspace.
    seed : int
    """

    block_bits: int
    size_bits: int
    d_bits: int
    seed: int

    @property
    def rank(self) -> int:
        """Rank of the sums in the subspace."""
        size = 2 ** (self.block_bits + self.size_bits)
        case = Case("fastfood", 2**self.d_bits, size, self.seed)
        return rank_in_subspace(case, block_sums(2**self.block_bits, 2**self.size_bits))

    def residues(self, modulus: int) -> int:
        """Return how many values the permutation takes modulo a number, at the multiples of the length of a block."""
        size = 2 ** (self.block_bits + self.size_bits)
        index = array(Case("fastfood", size, size, self.seed).map.index)
        return len(np.unique(index[:: 2**self.size_bits] % modulus))


def _dyadic_rank(sums: DyadicSums) -> Measurement:
    """Compare the rank with the number of distinct residues.

    Sums over dyadic blocks pick, of the second transform, the frequencies that are multiples of the length of a block,
    and transform what they find there: ``A H = size * (H picked)``. What they find are Gaussian multiples of the rows
    ``Pi(i)`` of the first transform, cut to d columns. Two such rows are equal where ``Pi(i)`` agrees modulo d, and
    orthogonal otherwise.
    """
    return Measurement(abs(sums.rank - sums.residues(2**sums.d_bits)), 0.0, scale=1.0)


def _general_position(sums: DyadicSums) -> Measurement:
    """Expect the full rank."""
    return Measurement(abs(sums.rank - min(2**sums.block_bits, 2**sums.d_bits)), 0.0, scale=1.0)


fastfood_dyadic_rank = Claim(
    name="intrinsic_dimension.fastfood_dyadic_rank",
    summary="In a fastfood subspace, sums over dyadic blocks have the rank that a permutation has residues.",
    statement=r"\operatorname{rank}(A P) = |\{\Pi(s i) \bmod d : 0 \le i < m\}|, \quad A = I_m \otimes 1_s^\top,"
    r" \quad m, s, d \text{ powers of } 2",
    source=Source.ours("rows of a Hadamard matrix that a cut makes equal"),
    verdict=Always(rtol=0.0),
    instances=lambda: st.integers(0, 4).flatmap(
        lambda blocks: st.integers(0, 4).flatmap(
            lambda size: st.builds(DyadicSums, st.just(blocks), st.just(size), st.integers(0, blocks + size), seeds)
        )
    ),
    evaluate=_dyadic_rank,
    near_miss=_general_position,
)


def _dyadic_case(rng: np.random.Generator, d: float) -> tuple[int, int]:
    return int(d), int(rng.integers(2**31))


def _rank_lost(instance: tuple[int, int], kind: str = "fastfood") -> Measurement:
    d, seed = instance
    rank = rank_in_subspace(Case(kind, d, 1024, seed), block_sums(8, 128))
    return Measurement(float(min(d, 8) - rank), 0.0)


fastfood_dyadic_failure = Claim(
    name="intrinsic_dimension.fastfood_dyadic_failure",
    summary="Fastfood misses eight sums over blocks of 128 numbers in most draws, from 7 up to 16 dimensions.",
    statement=r"\Pr\{\operatorname{rank}(A P) < \min(d, 8)\} \ge 0.8, \quad A = I_8 \otimes 1_{128}^\top",
    source=Source.ours("birthdays of eight residues"),
    verdict=Attains(0.8, margin=0.3),
    evaluate=_rank_lost,
    near_miss=lambda instance: _rank_lost(instance, "dense"),
    sweep=Sweep(
        axis="dimensions of the subspace",
        values=(7.0, 8.0, 9.0, 12.0, 16.0),
        draw=_dyadic_case,
        trials=200,
        quick_trials=40,
        measured_label="rank that is missing",
        bound_label="full rank",
    ),
)
