"""Claims about a matrix as low rank plus whole columns: what LOST leaves, and what alternation leaves."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

# Squared errors relative to the energy of the matrix: sums of a few thousand squares.
_ROUNDING = 1e-11
_KINDS = ("gaussian", "decaying", "integers", "diagonal", "low rank", "equal columns")


@dataclass(frozen=True, eq=False)
class Split:
    """A matrix, the rank of its first part, and how many columns the second part has."""

    matrix: Float64Array
    rank: int
    n_columns: int
    gram: Float64Array | None = None

    def found(self, method: str) -> Any:
        """Return what the package finds."""
        gram = None if self.gram is None else tensor(self.gram)
        return weights.low_rank_plus_columns(tensor(self.matrix), self.rank, self.n_columns, method, gram)

    @cached_property
    def energy(self) -> float:
        """Squared norm."""
        return float((self.matrix**2).sum())

    def tail(self, matrix: Float64Array, rank: int) -> float:
        """Return the energy of a matrix beyond a rank, relative to that of the whole."""
        return float((np.linalg.svd(matrix, compute_uv=False)[rank:] ** 2).sum()) / self.energy

    def missed(self) -> Float64Array:
        """Return what the best matrix of the rank misses in each column, relative to the energy."""
        left, values, right = np.linalg.svd(self.matrix, full_matrices=False)
        best = left[:, : self.rank] * values[: self.rank] @ right[: self.rank]
        missed: Float64Array = ((self.matrix - best) ** 2).sum(0) / self.energy
        return missed


def _matrix(rng: np.random.Generator, shape: tuple[int, int], kind: str) -> Float64Array:
    matrix = rng.standard_normal(shape)
    if kind == "decaying":
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        matrix = left * 0.6 ** np.arange(min(shape)) @ right
    elif kind == "integers":
        matrix = rng.integers(-2, 3, shape).astype(float)
    elif kind == "diagonal":
        matrix = np.eye(*shape) * rng.integers(1, 4, shape[1])
    elif kind == "low rank":
        matrix = np.outer(matrix[:, 0], matrix[0]) + np.eye(*shape)[:, rng.permutation(shape[1])] * (matrix > 1)
    elif kind == "equal columns":
        matrix = np.repeat(matrix[:, :1], shape[1], 1) * rng.choice([-1.0, 1.0, 2.0], shape[1])
    matrix[0, 0] += 0.5  # never zero
    return matrix


@st.composite
def _splits(draw: st.DrawFn, with_gram: bool = False) -> Split:
    rng = np.random.default_rng(draw(seeds))
    shape = draw(st.integers(2, 8)), draw(st.integers(2, 8))
    matrix = _matrix(rng, shape, draw(st.sampled_from(_KINDS)))
    rank, n_columns = draw(st.integers(1, min(shape) - 1)), draw(st.integers(0, shape[1]))
    if not with_gram or draw(st.booleans()):
        return Split(matrix, rank, n_columns)
    inputs = rng.standard_normal((3 * shape[1], shape[1])) @ rng.standard_normal((shape[1], shape[1]))
    return Split(matrix, rank, n_columns, inputs.T @ inputs / len(inputs))


def _draw(rng: np.random.Generator, n_columns: float) -> Split:
    return Split(rng.standard_normal((40, 60)), 8, int(n_columns))


_COLUMNS = (0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


def _order(split: Split) -> Measurement:
    """Compare the alternation, LOST, the low rank alone, and what nothing can go below.

    The alternation starts where LOST ends, and neither half of a round raises the error. The sum of both parts has at
    most rank r + k, so by Eckart, Young and Mirsky its error is at least the tail of the singular values beyond.
    """
    lost, alternating = split.found("lost").error, split.found("alternating").error
    low_rank = split.tail(split.matrix, split.rank)
    least = split.tail(split.matrix, split.rank + split.n_columns)
    return Measurement.chain(least, alternating, {"LOST": lost, "low rank alone": low_rank}, scale=1.0)


def _lost_first(split: Split) -> Measurement:
    """Expect LOST to leave at most what the alternation leaves."""
    return Measurement(split.found("lost").error, split.found("alternating").error, scale=1.0)


error_order = Claim(
    name="weight_structure.error_order",
    summary="Alternation leaves at most what LOST leaves; no such sum goes below a tail of singular values.",
    statement=r"\sum_{i > r + k} \sigma_i^2 \le \text{alternating} \le \text{LOST} \le \sum_{i > r} \sigma_i^2",
    source=Source.ours("alternation from the split of LOST (Li et al., 2508.02668); bound by Eckart, Young and Mirsky"),
    verdict=Always(_ROUNDING),
    instances=_splits,
    evaluate=_order,
    near_miss=_lost_first,
    sweep=Sweep(
        axis="columns kept whole, of 60",
        values=_COLUMNS,
        draw=_draw,
        trials=20,
        quick_trials=3,
        measured_label="singular value bound",
        bound_label="alternating",
        y_label="relative squared error, Gaussian 40 x 60, rank 8",
    ),
)


def _halves(split: Split) -> Measurement:
    """Compare the error after each half of a round with the one before."""
    trace = np.array(split.found("alternating").trace)
    return Measurement.worst(trace[1:], trace[:-1], scale=1.0)


def _a_tenth_each(split: Split) -> Measurement:
    """Expect every half of a round to lower the error by a tenth."""
    trace = np.array(split.found("alternating").trace)
    return Measurement.worst(trace[1:], 0.9 * trace[:-1], scale=1.0)


monotone_trace = Claim(
    name="weight_structure.monotone_trace",
    summary="Neither half of a round of the alternation raises the error, with a Gram matrix of inputs or without.",
    statement=r"e_{t+1} \le e_t",
    source=Source.ours("each half is optimal for what the other half left; a greedy choice is taken if it is better"),
    verdict=Always(_ROUNDING),
    instances=lambda: _splits(with_gram=True),
    evaluate=_halves,
    near_miss=_a_tenth_each,
)


def _for_its_columns(split: Split, method: str) -> Measurement:
    found = split.found(method)
    others = np.delete(split.matrix, array(found.indices), axis=1)
    best = split.tail(others, split.rank) if others.size else 0.0
    return Measurement(abs(found.error - best), 0.0, scale=1.0)


def _best_for_columns(split: Split) -> Measurement:
    """Compare the error of the alternation with the tail of the singular values of the other columns.

    Free columns absorb their own errors, so the low rank needs to fit the others only: its best error is their tail.
    With all columns free nothing is left.
    """
    return _for_its_columns(split, "alternating")


def _best_for_columns_of_lost(split: Split) -> Measurement:
    """Expect the same of LOST, whose low rank fits all columns."""
    return _for_its_columns(split, "lost")


best_for_columns = Claim(
    name="weight_structure.best_for_columns",
    summary="For given columns the least error is the singular value tail of the others, and alternation reaches it.",
    statement=r"\min_{L, C} \|W - L - C\|_F^2 = \sum_{i > r} \sigma_i^2(W_{I^c})",
    source=Source.ours("Eckart, Young and Mirsky for the columns that are not free"),
    verdict=Always(_ROUNDING),
    instances=_splits,
    evaluate=_best_for_columns,
    near_miss=_best_for_columns_of_lost,
)


def _lost(split: Split) -> Measurement:
    """Compare LOST with the best set of columns for the best low rank, by trying all sets.

    What the best low rank misses is the tail of the singular values, and it adds up over columns. So the columns that
    it misses most take away most.
    """
    missed, error = split.missed(), split.found("lost").error
    least = min(missed.sum() - missed[list(some)].sum() for some in combinations(range(len(missed)), split.n_columns))
    tail = split.tail(split.matrix, split.rank)
    return Measurement.worst([abs(error - least), abs(missed.sum() - tail)], 0.0, scale=1.0)


def _largest_columns(split: Split) -> Measurement:
    """Take the largest columns of the matrix instead."""
    missed = split.missed()
    order = np.argsort(-(split.matrix**2).sum(0), kind="stable")[: split.n_columns]
    return Measurement(float(missed.sum() - missed[order].sum()), split.found("lost").error, scale=1.0)


lost_columns = Claim(
    name="weight_structure.lost_columns",
    summary="For the best low rank, the columns that LOST keeps are the best ones; what is missed is the tail.",
    statement=r"\sum_j \|(W - W_r) e_j\|^2 = \sum_{i > r} \sigma_i^2, \quad I = k \text{ largest terms}",
    source=Source(
        "Li et al., LOST: Low-rank and Sparse Pre-training for Large Language Models (2025)", "the split", "2508.02668"
    ),
    verdict=Always(_ROUNDING),
    instances=_splits,
    evaluate=_lost,
    near_miss=_largest_columns,
)


def _square(rng: np.random.Generator, size: float) -> Split:
    n = int(size)
    return Split(rng.standard_normal((n, n)), n // 4, max(1, n // 20))


def _first_round(split: Split) -> Measurement:
    """Compare the first half round with 0.995 times what LOST leaves.

    On a Gaussian matrix the low rank without the columns differs from the one with them. On a diagonal matrix it need
    not: alternation gains nothing there, though the tail is not zero.
    """
    trace = split.found("alternating").trace
    return Measurement(trace[1], 0.995 * trace[0], extras={"LOST": trace[0], "alternating": trace[-1]})


first_round = Claim(
    name="weight_structure.first_round",
    summary="On Gaussian matrices the first half round of the alternation gains at least 0.5 percent over LOST.",
    statement=r"e_1 \le 0.995\ e_0",
    source=Source.measured(
        "2 to 3 percent on square Gaussian matrices with a quarter of the rank and 5 percent of columns"
    ),
    verdict=WithProbability(0.9),
    evaluate=_first_round,
    near_miss=0.9,
    sweep=Sweep(
        axis="size of the matrix",
        values=(40.0, 80.0, 160.0, 320.0),
        quick_values=(40.0, 80.0),
        draw=_square,
        trials=40,
        quick_trials=21,
        log="x",
        measured_label="first half round",
        bound_label="0.995 times LOST",
        y_label="relative squared error",
    ),
)
