"""Claims about the rate at which errors fall with the number of samples."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.random_supports.instances import ours
from sparsetheory.proofs_checks.random_supports.trials import Trial, anchored_error, draw_trial, lasso_error
from sparsetheory.proofs_checks.verdicts import ScalesAs
from sparsetheory.regression import Anchors, make_design, select_anchors


@dataclass(frozen=True, eq=False)
class _Batch:
    """Responses on one design: the mean error is what has a rate, single errors spread over decades."""

    trials: tuple[Trial, ...]


@cache
def _tall(n: int) -> tuple[NDArray[np.float64], Anchors]:
    X = make_design("clusters", n, 400, G=10, lo=1e-5, hi=1e-1, random_state=0)
    return X, select_anchors(X, 4, m_max=n // 5, random_state=0)


def _draw(rng: np.random.Generator, n: float) -> _Batch:
    return _Batch(tuple(draw_trial(rng, *_tall(int(n)), 1.0) for _ in range(12)))


def _anchored(solver: str, batch: _Batch) -> Measurement:
    return Measurement(float(np.mean([anchored_error(trial, solver) for trial in batch.trials])), 1.0)


def _plain(batch: _Batch) -> Measurement:
    return Measurement(float(np.mean([lasso_error(trial) for trial in batch.trials])), 1.0)


def _batches() -> st.SearchStrategy[_Batch]:
    return st.builds(lambda s: _draw(np.random.default_rng(s), 150), st.integers(0, 2**32 - 1))


def _sweep(label: str) -> Sweep:
    return Sweep(
        axis="N",
        values=(150.0, 400.0, 1200.0),
        draw=_draw,
        trials=60,
        quick_trials=20,
        log="xy",
        measured_label=f"{label}, mean error over noise variance",
        bound_label="the zero estimator",
    )


samples = Claim(
    name="random_supports.samples",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \propto N^{-0.975} \text{ for the anchored Lasso, up to } \pm 0.525",
    source=ours("measured: rate of the anchored Lasso in the number of samples"),
    verdict=ScalesAs(-0.975, 0.525),
    instances=_batches,
    evaluate=lambda batch: _anchored("lasso", batch),
    near_miss=_plain,
    sweep=_sweep("anchored Lasso"),
)

samples_greedy = Claim(
    name="random_supports.samples_greedy",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \propto N^{-1.3} \text{ for selection from anchors, up to } \pm 0.5",
    source=ours("measured: rate of forward-backward selection in the number of samples"),
    verdict=ScalesAs(-1.3, 0.5),
    instances=_batches,
    evaluate=lambda batch: _anchored("foba", batch),
    near_miss=_plain,
    sweep=_sweep("forward-backward from anchors"),
)

samples_lasso = Claim(
    name="random_supports.samples_lasso",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \propto N^{-0.2} \text{ for the Lasso without anchors, up to } \pm 0.25",
    source=ours("measured: rate of the plain Lasso in the number of samples"),
    verdict=ScalesAs(-0.2, 0.25),
    instances=_batches,
    evaluate=_plain,
    near_miss=lambda batch: _anchored("lasso", batch),
    sweep=_sweep("Lasso without anchors"),
)
