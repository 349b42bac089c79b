"""Claims about growth at low densities: dense gradients find the right weights, masked moments find none."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.dynamic_sparsity.isolation.split_pictures import Arm, learn
from sparsetheory.proofs_checks.verdicts import WithProbability

__all__ = ["isolated_gradient_growth", "isolated_moment_growth"]

_GAIN, _NEAR = 0.1, 0.05
_SOURCE = "digits in five pairs, a network 64-64-64-10, masks of equal densities, isolated tasks"
_DENSITIES = (0.015, 0.02, 0.025)


@dataclass(frozen=True)
class Run:
    """One seed at one density."""

    density: float
    seed: int

    def accuracy(self, grow: str) -> float:
        """Return the mean accuracy on all pairs after the last one."""
        return _accuracy(self, grow)


@cache
def _accuracy(run: Run, grow: str) -> float:
    return float(learn(Arm(run.density, "uniform", grow, run.seed)).metrics.acc)


def _draw(rng: np.random.Generator, density: float) -> Run:
    return Run(density, int(rng.integers(2**31)))


def _sweep(measured: str, bound: str) -> Sweep:
    return Sweep(
        axis="density of a task's mask",
        values=_DENSITIES,
        draw=_draw,
        trials=12,
        quick_trials=6,
        quick_values=(0.02,),
        measured_label=measured,
        bound_label=bound,
        y_label="mean accuracy after the last pair",
    )


def _gradient(run: Run) -> Measurement:
    """Compare masks that grow by the dense gradient with masks that stay as drawn."""
    return Measurement(run.accuracy("static") + _GAIN, run.accuracy("gradient"), 1.0)


def _static(run: Run) -> Measurement:
    """Expect as much of masks that stay as drawn, as would be so at high densities."""
    return Measurement(run.accuracy("gradient") - _NEAR, run.accuracy("static"), 1.0)


isolated_gradient_growth = Claim(
    name="dynamic_sparsity.isolated_gradient_growth",
    summary="Of two weights in a hundred, growth by gradients learns pairs of digits that a static mask cannot.",
    statement=r"a_{\text{gradient}} \ge a_{\text{static}} + 0.1 \text{ at densities } 0.015, 0.02, 0.025",
    source=Source.measured(_SOURCE),
    verdict=WithProbability(0.9, margin=0.45),
    evaluate=_gradient,
    near_miss=_static,
    sweep=_sweep("static masks, plus 0.1", "growth by gradients"),
)


def _moments(run: Run) -> Measurement:
    """Compare growth by a mean of dense gradients with growth by the moments that a masked optimiser keeps.

    Off the mask these are zero, so that growth by them is a choice among ties.
    """
    return Measurement(run.accuracy("masked moment") + _GAIN, run.accuracy("dense moment"), 1.0)


def _equal_moments(run: Run) -> Measurement:
    """Expect as much of what the optimiser keeps."""
    return Measurement(run.accuracy("dense moment") - _NEAR, run.accuracy("masked moment"), 1.0)


isolated_moment_growth = Claim(
    name="dynamic_sparsity.isolated_moment_growth",
    summary="Growth by momentum needs a mean of dense gradients: moments of a masked optimiser are zero off the mask.",
    statement=r"a_{\text{dense moment}} \ge a_{\text{masked moment}} + 0.1 \text{ at densities } 0.015, 0.02, 0.025",
    source=Source.measured(_SOURCE),
    verdict=WithProbability(0.9, margin=0.45),
    evaluate=_moments,
    near_miss=_equal_moments,
    sweep=_sweep("masked moments, plus 0.1", "dense moments"),
)
