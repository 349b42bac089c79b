"""Claim about random sparse matrices: how few entries make them nearly full rank."""

import math
from dataclasses import dataclass

import numpy as np

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
from sparsetheory.proofs_checks.verdicts import WithProbability

# On average one row and one column of a matrix with n log n entries are empty; more than this many are rare.
_MISSING = 5


@dataclass(frozen=True, eq=False)
class Matrix:
    """Side of a square matrix, and the seed of its entries."""

    n: int
    seed: int

    def missing(self, n_nonzero: int) -> float:
        """Return by how much the rank of a random change with so many entries falls short, relative to the side."""
        rng = np.random.default_rng(self.seed)
        change = np.zeros(self.n**2)
        change[rng.choice(self.n**2, n_nonzero, replace=False)] = rng.standard_normal(n_nonzero)
        before, after = ({"": tensor(values.reshape(self.n, -1))} for values in (np.zeros(self.n**2), change))
        return 1.0 - analysis.update_rank(before, after).matrices[0].fraction


def _draw(rng: np.random.Generator, n: float) -> Matrix:
    return Matrix(int(n), int(rng.integers(2**31)))


def _nearly_full(case: Matrix) -> Measurement:
    """Compare what the rank lacks at n log n entries with a few rows; show what it lacks at n and at 2 n log n."""
    entries = math.ceil(case.n * math.log(case.n))
    shown = {"with n entries": case.missing(case.n), "with 2 n log n entries": case.missing(2 * entries)}
    return Measurement(case.missing(entries), _MISSING / case.n, extras=shown)


def _with_fewer(case: Matrix) -> Measurement:
    """Expect the same of a matrix with n entries, one for each row on average."""
    return Measurement(case.missing(case.n), _MISSING / case.n)


sparse_full_rank = Claim(
    name="network_analysis.sparse_full_rank",
    summary="A random sparse matrix of side n is nearly full rank from n log n entries on: sparse is not low rank.",
    statement=r"|\mathrm{supp}\, D| = \lceil n \ln n \rceil \implies \mathrm{rank}\, D \ge n - 5",
    source=Source.measured("random places, Gaussian values; isolated rows vanish as coupons of a collector"),
    verdict=WithProbability(0.97, margin=0.1),
    evaluate=_nearly_full,
    near_miss=_with_fewer,
    sweep=Sweep(
        axis="side n",
        values=(32, 64, 128, 256),
        draw=_draw,
        trials=60,
        quick_trials=40,
        quick_values=(32, 64),
        log="x",
        measured_label="rank lacks, with n log n entries",
        bound_label="5 / n",
        y_label="share of the rank that is lacking",
    ),
)
