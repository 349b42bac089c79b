"""Claim about how much of a pretrained encoder is free. Nobody has proved it; it was measured."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.proofs_checks.weight_structure.encoder_retrieval import N_SETS, SET_SIZE, retrieval
from sparsetheory.typing import IndexArray

_FEW = 2
_GRID = tuple(step / 10 for step in range(10))
# A set of queries that one query moves cannot resolve a loss of 1 %.
_TOL = 0.02


@dataclass(frozen=True, eq=False)
class Queries:
    """Some functions of a number of sets."""

    n_sets: int
    chosen: IndexArray

    def quality(self, sparsity: float, method: str = "global") -> float:
        """Return the mean reciprocal rank of the right summaries."""
        return float(retrieval(method, sparsity, self.n_sets).reciprocal_ranks[self.chosen].mean())


def _draw(rng: np.random.Generator, n_sets: float) -> Queries:
    size = int(n_sets) * SET_SIZE
    return Queries(int(n_sets), rng.choice(size, size // 2, replace=False))


def _quality(queries: Queries) -> Measurement:
    """Compare 30 % and 70 % of magnitude pruning with the dense encoder, and 30 % with random pruning.

    Where there are enough queries, the essential sparsity at a loss of 2 % and the kink of the curve are compared, too.
    """
    dense, free, broken = (queries.quality(sparsity) for sparsity in (0.0, 0.3, 0.7))
    found = Measurement(queries.quality(0.3, "random"), free, scale=1.0)
    found = found.and_chain({"0.93 dense": 0.93 * dense, "magnitude, 30 %": free})
    found = found.and_chain({"magnitude, 70 %": broken, "0.95 dense": 0.95 * dense})
    if queries.n_sets < N_SETS:
        return found
    curve = weights.essential_sparsity(queries.quality, _GRID, tol=_TOL)
    found = found.and_chain({"random, 30 %, and 0.05": found.measured + 0.05, "magnitude, 30 %": free})
    found = found.and_chain({"0.2": 0.2, "essential sparsity": curve.s_star, "0.5": 0.5})
    found = found.and_chain({"0.45": 0.45, "kink": curve.kink, "0.65": 0.65})
    return found.and_chain({"slope before the kink over that behind": 1.0 / curve.slope_ratio, "1/3": 1 / 3})


def _random_is_free(queries: Queries) -> Measurement:
    """Expect of random pruning what 30 % of magnitude pruning leaves."""
    return Measurement(0.93 * queries.quality(0.0), queries.quality(0.3, "random"), scale=1.0)


essential_sparsity = Claim(
    name="weight_structure.essential_sparsity",
    summary="A pretrained sentence encoder retrieves as before without its 30 % smallest weights, not without 70 % or"
    " without 30 % random ones.",
    statement=r"E(0.3) \ge 0.93\ E(0), \quad E(0.7) \le 0.95\ E(0), \quad E_{\text{random}}(0.3) \le E(0.3), \quad"
    r" 0.2 \le s^* \le 0.5, \quad 0.45 \le \text{kink} \le 0.65",
    source=Source.measured(
        "half of the queries in each trial; essential sparsity at 2 % and kink on 6 sets of 120 only, after Jaiswal et"
        " al. (2306.03805), who train the pruned models"
    ),
    verdict=WithProbability(0.8),
    evaluate=_quality,
    near_miss=_random_is_free,
    sweep=Sweep(
        axis="sets of 120 queries",
        values=(float(_FEW), float(N_SETS)),
        draw=_draw,
        trials=60,
        quick_trials=21,
        quick_values=(float(_FEW),),
        measured_label="random, 30 %",
        bound_label="magnitude, 30 %, the bound",
        y_label="mean reciprocal rank",
    ),
)
