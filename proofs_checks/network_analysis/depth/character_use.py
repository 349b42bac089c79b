"""Claim about trained models of characters: deep layers of a network that normalises first matter little."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.network_analysis.depth.character_models import DENSE, judged_and_fitted, trained_model
from sparsetheory.proofs_checks.verdicts import WithProbability

# What the effect of the first layer is over that of the last but one, the exchange of the first two layers over the
# median of the others, and the last cosine at least.
_EFFECTS, _EXCHANGES, _COSINE = 2.0, 5.0, 0.95


@dataclass(frozen=True, eq=False)
class Training:
    """A seed and a number of optimiser steps."""

    seed: int
    n_steps: int

    @cached_property
    def report(self) -> "analysis.DepthReport":
        """The report on the dense model, without what the claim does not need."""
        model = trained_model(DENSE, self.seed, self.n_steps)
        with one_thread():
            return analysis.depth_report(model, None, judged_and_fitted()[0], jacobian=False)


def _draw(rng: np.random.Generator, n_steps: float) -> Training:
    return Training(int(rng.integers(2**31)), int(n_steps))


def _curse(training: Training) -> Measurement:
    """Compare the effect of the last layer but one with that of the first, and check what goes with it."""
    report = training.report
    effects, cosine = report.causal_effect, report.cosine
    found = Measurement(_EFFECTS * float(effects[-1]), float(effects[0]), 1.0)
    ratios = report.variance[:-1] / report.variance[1:]
    found = found.and_chain({"largest variance before over after": float(ratios.max()), "1": 1.0})
    found = found.and_chain({"first cosine": float(cosine[0]), "least later cosine": float(cosine[1:].min())})
    found = found.and_chain({"0.95": _COSINE, "last cosine": float(cosine[-1])})
    assert report.permutation is not None
    n_layers = len(report.layers)
    exchanges = report.permutation.numpy()[np.triu_indices(n_layers, 1)]
    return found.and_chain(
        {
            "5 times the median exchange": _EXCHANGES * float(np.median(exchanges[1:])),
            "exchange of the first two": float(exchanges[0]),
        }
    )


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
        values=(60.0, 200.0, 600.0),
        draw=_draw,
        trials=8,
        quick_trials=7,
        quick_values=(60.0,),
        log="x",
        measured_label="twice the effect of the last layer but one",
        bound_label="effect of the first layer",
        y_label="effects, ratios and cosines",
    ),
)
