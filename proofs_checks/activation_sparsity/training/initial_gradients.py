"""Claim about the first steps of training: expected gradients shrink what is active, whatever the labels are."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array

_SIGMAS, _DRAWS, _CLASSES = 5.0, 20_000, 5


@dataclass(frozen=True, eq=False)
class Activations:
    """Activations of a token, and the deviation of output weights."""

    a: Float64Array
    weight_std: float
    seed: int

    @cached_property
    def losses(self) -> dict[str, Any]:
        """Expected gradients of both losses."""
        from sparsetheory.gpu.activations import expected_activation_gradient

        given = tensor(self.a), self.weight_std, _CLASSES
        with one_thread():
            return {
                loss: expected_activation_gradient(*given, loss, self.seed, n_draws=_DRAWS)
                for loss in ("cross_entropy", "squared")
            }


def _draw(rng: np.random.Generator, weight_std: float) -> Activations:
    a = np.maximum(rng.standard_normal(6), 0.0)
    a[0] = 1.0
    return Activations(a, weight_std, int(rng.integers(2**31)))


def _deviation(case: Activations, factor: float) -> Measurement:
    worst, pull = 0.0, np.inf
    for loss, found in case.losses.items():
        formula = array(found.closed_form) * (factor if loss == "cross_entropy" else 1.0)
        worst = max(worst, float((np.abs(array(found.monte_carlo) - formula) / array(found.standard_error)).max()))
        pull = min(pull, float(case.a @ array(found.monte_carlo) + _SIGMAS * case.a @ array(found.standard_error)))
    return Measurement(worst, _SIGMAS, 1.0).and_chain({"zero": 0.0, "pull towards zero": pull})


def _stein(case: Activations) -> Measurement:
    """Compare simulated gradients with the formulas of Stein's identity, in standard errors of their difference."""
    return _deviation(case, 1.0)


def _without_softmax(case: Activations) -> Measurement:
    """Take the cross-entropy to be sure of every class: leave out the sum of squared probabilities."""
    found = case.losses["cross_entropy"]
    # 1 - sum p^2 is the ratio of the closed form to s^2 a, the same for all active entries; the first one is 1.
    return _deviation(case, case.weight_std**2 / float(array(found.closed_form)[0]))


expected_gradients = Claim(
    name="activation_sparsity.expected_gradients",
    summary="With random output weights the expected gradient points away from zero at every activation.",
    statement=r"E \frac{\partial \ell}{\partial a_i} = s^2 a_i\, E\Big[1 - \sum_c p_c^2\Big]"
    r" \text{ (cross-entropy)}, \quad E \frac{\partial \ell}{\partial a_i} = C s^2 a_i \text{ (squared)}",
    source=Source.ours("Stein's identity for the logits V a, normal V; labels independent of V"),
    verdict=WithProbability(0.6, margin=0.25),
    evaluate=_stein,
    near_miss=_without_softmax,
    sweep=Sweep(
        axis="deviation of output weights",
        values=(0.1, 0.3, 1.0, 3.0),
        draw=_draw,
        trials=30,
        quick_trials=11,
        quick_values=(0.3, 1.0),
        log="x",
        measured_label="distance of simulation and formula",
        bound_label="5 standard errors",
        y_label="standard errors",
    ),
)
