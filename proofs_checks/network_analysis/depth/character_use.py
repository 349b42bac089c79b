"""Claim about trained models of characters: deep layers of a network that normalises first matter little."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.network_analysis.depth.character_models import Arm, judged_and_fitted, trained_model
from sparsetheory.proofs_checks.verdicts import WithProbability

# What the effect of the first layer is over that of the last but one, the exchange of the first two layers over the
# median of the others, and the last cosine at least.
_EFFECTS, _EXCHANGES, _COSINE = 2.0, 5.0, 0.95
# Few texts at a time and long steps show soon what a network becomes. After 60 of them the loss may hardly feel an
# exchange of the first two layers, by chance, as it rises for some texts and falls for others.
_ARM, _TEXTS = Arm("dense, long steps", learning_rate=1e-2, batch_size=4), 8


@dataclass(frozen=True, eq=False)
class Training:
    """A seed and a number of optimiser steps."""

    seed: int
    n_steps: int

    @cached_property
    def report(self) -> "analysis.DepthReport":
        """The report on the dense model, without what the claim does not need."""
        model = trained_model(_ARM, self.seed, self.n_steps)
        with one_thread():
            return analysis.depth_report(model, None, judged_and_fitted()[0][:_TEXTS], jacobian=False)


def _draw(rng: np.random.Generator, n_steps: float) -> Training:
    return Training(int(rng.integers(2**31)), int(n_steps))


def _curse(training: Training) -> Measurement:
    """Compare the effect of the last layer but one with that of the first, and check what goes with it.

    Each inequality is a ratio of two numbers, at most one. How far a layer turns the stream is one minus the cosine.
    """
    report = training.report
    effects, turns = report.causal_effect.numpy(), 1 - report.cosine.numpy()
    assert report.permutation is not None
    exchanges = report.permutation.numpy()[np.triu_indices(len(report.layers), 1)]
    ratios = {
        "variance before over after": (report.variance[:-1] / report.variance[1:]).max(),
        "later turn over the first": turns[1:].max() / turns[0],
        "last turn over 0.05": turns[-1] / (1 - _COSINE),
        "5 median exchanges over the first": _EXCHANGES * np.median(exchanges[1:]) / exchanges[0],
    }
    named = {name: float(ratio) for name, ratio in ratios.items()}
    last = float(_EFFECTS * effects[-1] / effects[0])
    return Measurement(last, 1.0, 1.0, named, tuple((name, "bound") for name in named))


def _alike(training: Training) -> Measurement:
    """Expect the last layer but one to matter at least half as much as the first one."""
    effects = training.report.causal_effect
    return Measurement(float(effects[0]), _EFFECTS * float(effects[-1]), 1.0)


curse_of_depth = Claim(
    name="network_analysis.curse_of_depth",
    summary="In a trained decoder that normalises first the stream grows, and deep layers change little of it.",
    statement=r"\operatorname{var} h_l \uparrow, \quad \text{causal}(0) \ge 2\, \text{causal}(L - 2), \quad"
    r" \text{perm}(0, 1) \ge 5 \operatorname{median}, \quad \cos(h_{L-1}, h_L) \ge 0.95",
    source=Source.measured("decoder of 8 layers of width 32 on characters of the docstrings of Python's library"),
    verdict=WithProbability(0.75, margin=0.25),
    evaluate=_curse,
    near_miss=_alike,
    sweep=Sweep(
        axis="optimiser steps",
        values=(90.0, 200.0, 600.0),
        draw=_draw,
        trials=8,
        quick_trials=7,
        quick_values=(90.0,),
        log="xy",
        measured_label="2 late effects over the first",
        y_label="ratio",
    ),
)
