"""Claim about the training of a linear head: with a step from its curvature the loss never rises."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array, IndexArray


@dataclass(frozen=True, eq=False)
class Features:
    """Features, classes, and the strength of the penalty."""

    features: Float64Array
    labels: IndexArray
    alpha: float

    def rises(self, factor: float) -> Measurement:
        """Compare each loss of gradient descent with the one before, for a step of some times 1 / L."""
        n_classes = int(self.labels.max()) + 1
        ones = np.column_stack([self.features, np.ones(len(self.features))])
        curvature = float(np.linalg.norm(ones, 2)) ** 2 / (2 * len(ones)) + self.alpha
        # The step that is the default, or a multiple of it.
        lr = None if factor == 1.0 else factor / curvature
        losses = array(
            analysis.linear_probe(
                tensor(self.features),
                tensor(self.labels),
                method="gradient_descent",
                n_steps=30,
                lr=lr,
                alpha=self.alpha,
            ).losses
        )
        start = abs(losses[0] - np.log(n_classes))
        return Measurement.worst([start, *losses[1:]], [0.0, *losses[:-1]], scale=float(np.log(n_classes)))


def _draw_features(seed: int, n_classes: int, kind: str, alpha: float) -> Features:
    rng, n, p = np.random.default_rng(seed), 20, 8
    labels = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=n - n_classes)])
    features = np.maximum(rng.standard_normal((n, p)) + 3 * rng.standard_normal((n_classes, p))[labels], 0)
    if kind == "separable":
        features[:, :n_classes] = 5 * np.eye(n_classes)[labels]
    elif kind == "scales":
        features *= np.exp(2 * rng.standard_normal(p))
    return Features(features, labels, alpha)


def _features() -> st.SearchStrategy[Features]:
    kinds = st.sampled_from(("clusters", "separable", "scales"))
    return st.builds(_draw_features, seeds, st.integers(2, 4), kinds, st.sampled_from((0.0, 0.01, 1.0)))


def _descent(case: Features) -> Measurement:
    """Compare losses of steps of 1 / L, from a loss of log K at zero.

    The Hessian of the cross-entropy in the logits, ``diag(p) - p p'``, has eigenvalues of at most 1/2, so L is half the
    largest eigenvalue of the mean of ``[x, 1] [x, 1]'``, plus the strength of the penalty.
    """
    return case.rises(1.0)


def _four_times(case: Features) -> Measurement:
    """Take steps of 4 / L."""
    return case.rises(4.0)


probe_descent = Claim(
    name="network_analysis.probe_descent",
    summary="Gradient descent of a linear head with the step 1 / L never raises the loss, separable classes or not.",
    statement=r"L = \tfrac{1}{2n} \|[X\ 1]\|^2 + \alpha, \quad f(w_{t+1}) \le f(w_t) \text{ for steps } 1/L",
    source=Source.classic("Nesterov (2004)", "descent lemma, with the curvature of softmax (Böhning 1992)"),
    verdict=Always(1e-12),
    instances=_features,
    evaluate=_descent,
    near_miss=_four_times,
)
