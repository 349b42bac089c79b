"""Trained networks on handwritten digits: attention raises the compressed rate, and tokens are sparse."""

from typing import Any

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.sparse_representation.crate.instances import LEAST
from sparsetheory.proofs_checks.sparse_representation.crate.networks import Trained
from sparsetheory.proofs_checks.verdicts import WithProbability

_FEW, _MANY = 0.2, 0.7


def _draw(rng: np.random.Generator, n_steps: float) -> Trained:
    return Trained(int(rng.integers(2**31)), int(n_steps))


def _multiple(report: Any) -> float:
    """Return the compressed rate after attention over that before, both summed over layers."""
    return float(report.rate_after.sum() / report.rate_before.sum())


def _risen(network: Trained, instead: str) -> Measurement:
    """Compare rates after the exact step, before attention and after it, and the share of nonzeros with its limits."""
    shares = network.report.nonzero_fraction
    lower, higher = _multiple(network.report_of(instead)), _multiple(network.report)
    found = Measurement.chain(lower + LEAST, 1.0, {"after attention": higher - LEAST})
    return found.and_chain(
        {"0.2": _FEW, "least nonzero": float(shares.min()), "most nonzero": float(shares.max()), "0.7": _MANY}
    )


trained_attention = Claim(
    name="sparse_representation.trained_attention",
    summary="In CRATE trained on digits, attention raises the compressed rate over all layers; tokens are sparse.",
    statement=r"\sum_\ell R^c(Z^\ell + \text{attention}; U^\ell) > \sum_\ell R^c(Z^\ell; U^\ell)"
    r" > \sum_\ell R^c(Z^\ell - \kappa \nabla R^c; U^\ell), \quad"
    r" 0.2 < \|Z^{\ell + 1}\|_0 / (d N) < 0.7 \text{ in each of 4 layers}",
    source=Source.measured("digits as 17 tokens of 32 features; the layer was derived to lower the rate"),
    verdict=WithProbability(0.75, margin=0.25),
    evaluate=lambda network: _risen(network, "exact"),
    near_miss=lambda network: _risen(network, "code"),
    sweep=Sweep(
        axis="training steps",
        values=(30.0, 150.0, 600.0),
        draw=_draw,
        trials=12,
        quick_trials=7,
        quick_values=(30.0,),
        log="x",
        measured_label="after the exact step",
        bound_label="before",
        y_label="rate as a multiple; share of nonzeros",
    ),
)
