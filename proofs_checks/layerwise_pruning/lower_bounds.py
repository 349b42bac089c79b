"""Claim about what no method can do: the eigenvalues of the Gram matrix bound the best objective from both sides."""

from functools import partial

import numpy as np

from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.instances import ROUNDING, Layer, draw_layer, layers
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always


def _distance(layer: Layer) -> float:
    """Return the squared distance of the weights to the pattern."""
    nearest = array(layer.pattern.project(tensor(layer.weight)))
    return float(np.square(layer.weight - nearest).sum())


def _bounds(layer: Layer) -> Measurement:
    """Compare the bound of the certificate with the best objective, and that with the largest eigenvalue.

    For any s, ``lambda_min |w - s|^2 <= (w - s)'H(w - s) <= lambda_max |w - s|^2``. No s of the pattern is nearer to w
    than its projection, which gives the lower end; and s may be the projection, which gives the upper one. The best
    objective comes from least squares on every mask.
    """
    W, H = layer.tensors
    certificate = weights.layerwise_prune(W, H, layer.pattern, "magnitude", damping=0.0).certificate
    least = sum(layer.least(row) for row in range(len(layer.weight)))
    most = float(np.linalg.eigvalsh(layer.gram)[-1]) * _distance(layer)
    return Measurement.chain(
        certificate.lower_bound * layer.scale, least, {"largest eigenvalue": most}, scale=layer.scale
    )


def _smallest_diagonal(layer: Layer) -> Measurement:
    """Take the smallest input energy for the smallest eigenvalue: right for uncorrelated inputs only."""
    least = sum(layer.least(row) for row in range(len(layer.weight)))
    return Measurement(float(np.diagonal(layer.gram).min()) * _distance(layer), least, layer.scale)


def _correlated(rng: np.random.Generator, factor: float) -> Layer:
    """Draw eight inputs with a common part of a given size."""
    layer = draw_layer(rng, "gaussian", rows=1)
    common = rng.standard_normal((len(layer.inputs), 1))
    return Layer(layer.weight, layer.inputs + factor * common, layer.delta, layer.n, layer.m, layer.rng_seed)


eigenvalue_bounds = Claim(
    name="layerwise_pruning.eigenvalue_bounds",
    summary="The extreme eigenvalues of the Gram matrix bound the error of the best pruned weights from both sides.",
    statement=r"\lambda_{\min}(H)\, d^2 \le \min_{s \text{ on the pattern}} (w - s)^\top H (w - s)"
    r" \le \lambda_{\max}(H)\, d^2, \quad d = \text{distance of } w \text{ to the pattern}",
    source=Source.classic("Rayleigh and Ritz", "quadratic forms lie between the extreme eigenvalues"),
    verdict=Always(ROUNDING),
    instances=partial(layers, shapes=((8, 2, 4), (8, 1, 4), (6, 1, 2), (6, 3, 6))),
    evaluate=_bounds,
    near_miss=_smallest_diagonal,
    sweep=Sweep(
        axis="size of the part that all inputs share",
        values=(0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
        draw=_correlated,
        trials=20,
        quick_trials=4,
        log="y",
        measured_label="smallest eigenvalue times squared distance",
        bound_label="best of all masks",
        y_label="objective",
    ),
)
