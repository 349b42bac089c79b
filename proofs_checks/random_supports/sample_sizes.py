"""Claims about the rate at which errors fall with the number of samples."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.random_supports.trials import (
    Trial,
    anchored_errors,
    draw_colliding_support,
    draw_trial,
    lasso_error,
)
from sparsetheory.proofs_checks.verdicts import ScalesAs
from sparsetheory.regression import Anchors, make_design, select_anchors
from sparsetheory.regression.random_supports.anchored_fit import default_alpha
from sparsetheory.typing import Float64Array


@dataclass(frozen=True, eq=False)
class _Batch:
    """Responses on one design: the median error is what has a rate, single errors spread over decades."""

    trials: tuple[Trial, ...]

    @cached_property
    def anchored_lasso(self) -> float:
        return self._median("lasso")

    @cached_property
    def greedy(self) -> float:
        return self._median("foba")

    def _median(self, solver: str) -> float:
        return float(np.median(anchored_errors(self.trials, solver)))

    @cached_property
    def plain_lasso(self) -> float:
        return float(np.median([lasso_error(trial) for trial in self.trials]))

    @property
    def alpha(self) -> float:
        """The strength of the Lasso: the noise in unit columns."""
        return default_alpha(1.0, *self.trials[0].X.shape)


@cache
def _tall(n: int) -> tuple[Float64Array, Anchors]:
    X = make_design("clusters", n, 400, n_clusters=10, min_scale=1e-5, max_scale=1e-1, random_state=0)
    return X, select_anchors(X, n_nonzero=4, max_anchors=n // 5, random_state=0)


def _draw(rng: np.random.Generator, n: float) -> _Batch:
    return _Batch(tuple(draw_trial(rng, *_tall(int(n)), 1.0) for _ in range(15)))


def _draw_collisions(rng: np.random.Generator, n: float) -> _Batch:
    X, anchors = _tall(int(n))
    return _Batch(tuple(draw_trial(rng, X, anchors, 1.0, draw_colliding_support(rng, X, 4)) for _ in range(5)))


def _root(error: float) -> Measurement:
    """Claim the rate for the norm of the error instead of its square."""
    return Measurement(float(np.sqrt(error)), 1.0)


def _batches() -> st.SearchStrategy[_Batch]:
    return st.builds(lambda s: _draw(np.random.default_rng(s), 150), st.integers(0, 2**32 - 1))


def _sweep(label: str, quick_trials: int = 20, collisions: bool = False) -> Sweep:
    return Sweep(
        axis="N",
        values=(150.0, 400.0, 1200.0),
        draw=_draw_collisions if collisions else _draw,
        trials=60,
        quick_trials=quick_trials,
        log="xy",
        measured_label=f"{label}, median error over noise variance",
        y_label="median error over noise variance",
        bound_label="the zero estimator",
    )


samples = Claim(
    name="random_supports.samples",
    summary="The error of the anchored Lasso falls nearly as fast as the number of samples grows.",
    statement=r"\operatorname{median} \tfrac1N \|X(\hat w - w^*)\|^2 \propto N^{-0.85} \text{ for the anchored Lasso,}"
    r" \text{ up to } \pm 0.2",
    source=Source.measured("rate of the anchored Lasso in the number of samples"),
    verdict=ScalesAs(-0.85, 0.2),
    instances=_batches,
    evaluate=lambda batch: Measurement(batch.anchored_lasso, 1.0),
    near_miss=lambda batch: _root(batch.anchored_lasso),
    sweep=_sweep("anchored Lasso"),
)

samples_greedy = Claim(
    name="random_supports.samples_greedy",
    summary="The error of selection from anchors falls as fast as the number of samples grows.",
    statement=r"\operatorname{median} \tfrac1N \|X(\hat w - w^*)\|^2 \propto N^{-1.05} \text{ for selection from}"
    r" \text{ anchors, up to } \pm 0.3",
    source=Source.measured("rate of forward-backward selection in the number of samples"),
    verdict=ScalesAs(-1.05, 0.3),
    instances=_batches,
    evaluate=lambda batch: Measurement(batch.greedy, 1.0),
    near_miss=lambda batch: _root(batch.greedy),
    sweep=_sweep("forward-backward from anchors"),
)


def _over_the_strength(batch: _Batch) -> Measurement:
    """Claim that the error falls like the bound on it, two strengths times the l1 norm of the truth."""
    return Measurement(batch.plain_lasso / batch.alpha, 1.0)


samples_lasso = Claim(
    name="random_supports.samples_lasso",
    summary="More samples do not help the Lasso without anchors on two columns of one cluster.",
    statement=r"\operatorname{median} \tfrac1N \|X(\hat w - w^*)\|^2 \propto N^0 \text{ up to } \pm 0.1"
    r" \text{ for the Lasso without anchors, if } S \text{ has two columns of one cluster}",
    source=Source.measured("the plain Lasso on supports that hit a cluster twice gains nothing from more samples"),
    verdict=ScalesAs(0.0, 0.1),
    instances=lambda: st.builds(lambda s: _draw_collisions(np.random.default_rng(s), 150), st.integers(0, 2**32 - 1)),
    evaluate=lambda batch: Measurement(batch.plain_lasso, 1.0),
    near_miss=_over_the_strength,
    sweep=_sweep("Lasso without anchors", quick_trials=12, collisions=True),
)
