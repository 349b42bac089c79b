"""Claim about what the cheap scores of rewiring cost: recovery of a support whose columns have different scales."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import AnyArray, BoolArray, Float64Array

_ROWS, _COLUMNS, _TRUE, _BUDGET, _ROUNDS, _INSTANCES = 60, 80, 10, 12, 40, 6
# From this spread of scales on the scores of RigL must fail, and to which recall.
_SPREAD, _AT_MOST = 0.7, 0.6


@dataclass(frozen=True, eq=False)
class Recovery:
    """Designs with their true coefficients and the supports to start from, and the spread of the scales of columns."""

    designs: AnyArray
    coefficients: Float64Array
    starts: BoolArray
    spread: float

    @cached_property
    def by_cheap_scores(self) -> float:
        """Recall of rewiring by the scores of RigL."""
        return self._recall("magnitude", "gradient")

    @cached_property
    def by_exact_prices(self) -> float:
        """Recall of rewiring by exact prices and gains."""
        return self._recall("price", "gain")

    def _recall(self, drop: str, grow: str) -> float:
        """Return the mean share of the true support that rewiring ends with."""
        with one_thread():
            found = [
                self._search(X, beta, start, drop, grow)
                for X, beta, start in zip(self.designs, self.coefficients, self.starts, strict=True)
            ]
        return float(
            np.mean([support[beta != 0].mean() for support, beta in zip(found, self.coefficients, strict=True)])
        )

    def _search(self, X: Float64Array, beta: Float64Array, start: BoolArray, drop: str, grow: str) -> BoolArray:
        gram = X.T @ X
        result = dynamic.exchange_search(
            tensor(gram),
            tensor(gram @ beta),
            tensor(start),
            drop=drop,
            grow=grow,
            # As RigL moves: a cosine from 2 entries to none, rounded up.
            moves=lambda step: math.ceil(1 + math.cos(math.pi * step / _ROUNDS)),
            max_iter=_ROUNDS,
            guarded=False,
        )
        return array(result.support)


def _draw(rng: np.random.Generator, spread: float) -> Recovery:
    designs = rng.standard_normal((_INSTANCES, _ROWS, _COLUMNS))
    designs /= np.linalg.norm(designs, axis=1, keepdims=True)
    scales = np.exp(spread * rng.standard_normal((_INSTANCES, _COLUMNS)))
    coefficients = np.zeros((_INSTANCES, _COLUMNS))
    starts = np.zeros((_INSTANCES, _COLUMNS), dtype=bool)
    for beta, start in zip(coefficients, starts, strict=True):
        true = rng.choice(_COLUMNS, _TRUE, replace=False)
        beta[true] = rng.choice([-1.0, 1.0], _TRUE) * rng.uniform(1.0, 2.0, _TRUE)
        start[rng.choice(_COLUMNS, _BUDGET, replace=False)] = True
    return Recovery(designs * scales[:, None], coefficients / scales, starts, spread)


def _recalls(recovery: Recovery) -> Measurement:
    """Compare the recall by RigL's scores with 0.6, where scales differ, and that by exact prices with 0.98.

    Weight and gradient are in the units of their columns, prices and gains are not: the response does not change with
    the scales, only what the cheap scores see of it.
    """
    cheap, exact = recovery.by_cheap_scores, recovery.by_exact_prices
    found = Measurement(cheap, _AT_MOST if recovery.spread >= _SPREAD else 1.0, scale=1.0)
    return found.and_chain({"0.98": 0.98, "exact prices": exact})


def _cheap_scores_serve(recovery: Recovery) -> Measurement:
    """Expect of RigL's scores what exact prices reach."""
    return Measurement(0.98, recovery.by_cheap_scores, scale=1.0)


rigl_against_prices = Claim(
    name="dynamic_sparsity.rigl_against_prices",
    summary="If columns differ in scale, rewiring by weights and gradients loses the support that exact prices find.",
    statement=r"\text{recall by } |w|, |g| \le 0.6, \quad \text{recall by prices and gains} \ge 0.98"
    r" \quad \text{at scales } e^{N(0, 0.7^2)}",
    source=Source.measured(
        "mean recall of 6 supports of 10 of 80 columns, 60 rows, no noise; 0.45 by RigL's scores, 1 by exact prices"
    ),
    verdict=WithProbability(0.7),
    evaluate=_recalls,
    near_miss=_cheap_scores_serve,
    sweep=Sweep(
        axis="standard deviation of the log of the scales",
        values=(0.0, 0.35, 0.7),
        draw=_draw,
        trials=40,
        quick_trials=16,
        quick_values=(0.7,),
        measured_label="RigL: drop by weight, grow by gradient",
        bound_label="bound",
        y_label="recall of the support",
    ),
)
