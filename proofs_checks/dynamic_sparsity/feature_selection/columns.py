"""Claims about the greedy choice of columns: it is what fits of all candidates say, and no choice beats its bound."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_ROUNDING = 1e-9
_FARAHAT = Source.classic("Farahat, Ghodsi, Kamel, ICDM 2011", "greedy column subset selection")


@dataclass(frozen=True, eq=False)
class Columns:
    """A matrix, and how many of its columns are chosen."""

    X: Float64Array
    count: int

    def error(self, columns: list[int]) -> float:
        """Return the squared error of fits on some columns, relative to the energy of the matrix."""
        chosen = self.X[:, columns]
        norms = np.linalg.norm(chosen, axis=0)
        unit = chosen[:, norms > 0] / norms[norms > 0]
        rest = self.X - unit @ np.linalg.lstsq(unit, self.X, rcond=1e-8)[0]
        return float((rest**2).sum() / (self.X**2).sum())

    @cached_property
    def greedy_errors(self) -> list[float]:
        """Errors of the greedy choice by a fit for every candidate."""
        chosen: list[int] = []
        errors = []
        for _ in range(self.count):
            candidates = [j for j in range(self.X.shape[1]) if j not in chosen]
            found = [self.error([*chosen, j]) for j in candidates]
            chosen.append(candidates[int(np.argmin(found))])
            errors.append(min(found))
        return errors

    def pivoted(self) -> list[int]:
        """Return the columns that a factorisation with pivots takes: those farthest from the span of the others."""
        from scipy.linalg import qr

        return [int(j) for j in qr(self.X, mode="r", pivoting=True)[1][: self.count]]


def _draw(seed: int, shape: tuple[int, int], kind: str) -> Columns:
    rng, (n, m) = np.random.default_rng(seed), shape
    X = rng.standard_normal(shape)
    if kind == "common factor":
        X += 3 * rng.standard_normal((n, 1))
    elif kind == "scales":
        X *= np.exp(rng.standard_normal(m))
    elif kind == "noise":
        # Half of the columns are nearly a few directions, the others are alone.
        few = rng.standard_normal((n, 2)) @ rng.standard_normal((2, m))
        X = np.where(np.arange(m) < m // 2, few + 0.1 * X, X)
    return Columns(X, min(n, m, 5) - 1)


def _matrices() -> st.SearchStrategy[Columns]:
    shapes, kinds = st.tuples(st.integers(2, 20), st.integers(2, 8)), ("gaussian", "common factor", "scales", "noise")
    return st.builds(_draw, seeds, shapes, st.sampled_from(kinds))


def _agreeing(case: Columns) -> Measurement:
    """Compare the errors after every step with those of a search that fits all candidates."""
    found = dynamic.greedy_column_subset(case.X, case.count).errors[1:]
    return Measurement(float(np.abs(found - case.greedy_errors).max(initial=0.0)), 0.0, scale=1.0)


def _farthest(case: Columns) -> Measurement:
    """Take the column that is farthest from the span of those chosen, which explains itself and maybe nothing else."""
    pivots = case.pivoted()
    found = [case.error(pivots[: k + 1]) for k in range(case.count)]
    return Measurement(float(np.abs(np.array(found) - case.greedy_errors).max(initial=0.0)), 0.0, scale=1.0)


greedy_columns = Claim(
    name="dynamic_sparsity.greedy_columns",
    summary="Columns chosen by updated gains are those that a fit of every candidate would choose.",
    statement=r"\|X - P_{S \cup j} X\|_F^2 = \|E\|_F^2 - \frac{\|C_{:,j}\|^2}{C_{jj}}, \quad C = E^\top E,"
    r"\ E = X - P_S X",
    source=_FARAHAT,
    verdict=Always(_ROUNDING),
    instances=_matrices,
    evaluate=_agreeing,
    near_miss=_farthest,
)


def _bounded(case: Columns) -> Measurement:
    """Compare the tail of the singular values with the error of the best choice, and that with the greedy one's.

    The projection on k columns has rank k at most, and no matrix of rank k is nearer than the truncated decomposition.
    """
    found = dynamic.greedy_column_subset(case.X, case.count)
    best = min(case.error(list(columns)) for columns in combinations(range(case.X.shape[1]), case.count))
    return Measurement.chain(float(found.bounds[-1]), best, {"greedy": float(found.errors[-1])}, scale=1.0)


def _optimal(case: Columns) -> Measurement:
    """Expect columns to be as good as combinations of all columns."""
    found = dynamic.greedy_column_subset(case.X, case.count)
    return Measurement(float(found.errors[-1]), float(found.bounds[-1]), scale=1.0)


column_bound = Claim(
    name="dynamic_sparsity.column_bound",
    summary="No columns explain a matrix better than as many singular vectors do; the greedy choice is in between.",
    statement=r"\sum_{i > k} \sigma_i^2 \le \min_{|S| = k} \|X - P_S X\|_F^2 \le \|X - P_{S_{\text{greedy}}} X\|_F^2",
    source=Source.classic("Eckart and Young, 1936", "best approximation of rank k"),
    verdict=Always(_ROUNDING),
    instances=lambda: _matrices().filter(lambda case: case.count > 0),
    evaluate=_bounded,
    near_miss=_optimal,
)
