"""Claim about the law of active neurons over training data: its limit is found if the curve has bent."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.gpu import activations
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import WithProbability

_ALPHAS, _POINTS, _WITHIN = (0.3, 1.2), 40, 0.01


@dataclass(frozen=True, eq=False)
class Curve:
    """A law of ReLU, how far the data reach along it, and the noise of the ratios."""

    alpha: float
    b: float
    a0: float
    bend: float
    noise: float
    seed: int

    @cached_property
    def limit_error(self) -> float:
        """Relative error of the limit that is fitted."""
        return abs(self._fitted(self.bend).a0 / self.a0 - 1)

    @cached_property
    def early_error(self) -> float:
        """The same where the data end at a tenth of the bend."""
        return abs(self._fitted(0.1).a0 / self.a0 - 1)

    def _fitted(self, bend: float) -> "activations.LawFit":
        tokens = np.linspace(2.0, 100.0, _POINTS)
        c = bend / tokens[-1] ** self.alpha
        noise = self.noise * np.random.default_rng(self.seed).standard_normal(_POINTS)
        ratio = np.exp(self.b - c * tokens**self.alpha) + self.a0 + noise
        with warnings.catch_warnings():
            # Where the curve has not bent there is a warning, as there should be.
            warnings.simplefilter("error" if bend >= 1.5 else "ignore")
            return activations.fit_activation_law(tokens, ratio)


def _draw(rng: np.random.Generator, noise: float) -> Curve:
    alpha, b, a0, bend = rng.uniform(*_ALPHAS), rng.uniform(-3.5, -1.5), rng.uniform(0.05, 0.1), rng.uniform(2.0, 6.0)
    return Curve(alpha, b, a0, bend, noise, int(rng.integers(2**31)))


law_limit = Claim(
    name="activation_sparsity.law_limit",
    summary="The share of neurons that unlimited data would leave can be fitted once the curve has bent.",
    statement=r"c D_{\max}^\alpha \ge 2 \Rightarrow |\hat A_0 / A_0 - 1| \le 0.01",
    source=Source.measured("laws of ReLU as in the paper, 40 checkpoints; without noise the limit is exact"),
    verdict=WithProbability(0.9),
    evaluate=lambda curve: Measurement(curve.limit_error, _WITHIN, scale=1.0),
    near_miss=lambda curve: Measurement(curve.early_error, _WITHIN, scale=1.0),
    sweep=Sweep(
        axis="standard deviation of the ratios",
        values=(1e-7, 1e-6, 1e-5),
        draw=_draw,
        trials=60,
        quick_trials=21,
        quick_values=(1e-6,),
        log="xy",
        measured_label="error of the fitted limit",
        bound_label="1 %",
        y_label="relative error",
    ),
)
