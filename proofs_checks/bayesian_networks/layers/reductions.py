"""Claims about what a layer with normal weights becomes: a plain layer, and the same layer by other products."""

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.bayesian_networks.layers.instances import Case, cases
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Sums of at most 9 products in another order; standard deviations are their roots.
_ROUNDING = 1e-12
_LEAST = 1e-12


def _outputs(case: Case, sampling: str, rho: float | None = None) -> tuple[Float64Array, Float64Array]:
    """Return outputs of the layer, with all parameters of deviations set, and of the layer of torch."""
    import torch

    layer, x = case.layer(sampling, backend="dense"), case.inputs()
    with torch.no_grad():
        if rho is not None:
            layer.rho.fill_(rho)
        noisy = array(layer(x))
        plain = (torch.nn.Linear if case.convolution < 0 else torch.nn.Conv2d).forward(layer, x)
    return noisy, array(plain)


def _without_deviations(case: Case) -> Measurement:
    """Compare a layer whose deviations are at their least value, 1e-12, with the layer of torch.

    In single precision, what 1e-12 adds to an output above 1e-3 is rounded away: the outputs are equal bit by bit.
    Outputs near 0 may differ by the noise itself.
    """
    differing, largest = 0, 0.0
    norm = float(np.sqrt((array(case.inputs()).astype(float) ** 2).sum()))
    with one_thread():
        for sampling in ("local", "weights", "mean"):
            noisy, plain = _outputs(case, sampling, -float("inf"))
            away = np.abs(plain) > 1e-3
            differing += int((noisy != plain)[away].sum())
            largest = max(largest, float(np.abs(noisy - plain)[~away].max(initial=0.0)))
    # No weight of 36 or output deviates by more than 10 standard deviations; the rest is rounding of outputs.
    bound = 10 * _LEAST * norm + 1e-9
    return Measurement(float(differing), 0.0, scale=1.0).and_chain({"near zero": largest, "noise": bound})


def _with_zero_parameters(case: Case) -> Measurement:
    """Take a parameter of 0 for a deviation of 0."""
    with one_thread():
        noisy, plain = _outputs(case, "local", 0.0)
    return Measurement(float((noisy != plain)[np.abs(plain) > 1e-3].sum()), 0.0, scale=1.0)


deterministic_limit = Claim(
    name="bayesian_networks.deterministic_limit",
    summary="With deviations at their least value, the outputs are those of the plain layer, bit by bit, however noise "
    "is drawn.",
    statement=r"\varrho \to -\infty: \quad y = x * (\mu \odot \gamma) + b",
    source=Source.ours("what is added lies below the rounding of single precision"),
    verdict=Always(0.0),
    instances=lambda: cases(dtype="float32"),
    evaluate=_without_deviations,
    near_miss=_with_zero_parameters,
)


def _results(case: Case, backend: str, sampling: str, dense_gradient: bool) -> list[Float64Array]:
    """Return outputs and all gradients of one loss."""
    import torch

    layer, x = case.layer(sampling, backend=backend), case.inputs().requires_grad_()
    layer.dense_gradient = dense_gradient
    outputs = layer(x)
    torch.cos(outputs + 0.3).sum().backward()
    gradients = [part.grad for part in (x, layer.weight, layer.rho, layer.bias)]
    zeros = torch.zeros_like(layer.rho)
    return [array(outputs), *(array(zeros if gradient is None else gradient) for gradient in gradients)]


def _compared(case: Case, on_mask: bool) -> Measurement:
    worst, scale = 0.0, 1.0
    for sampling in ("local", "weights", "mean"):
        for dense_gradient in (False, True):
            dense = _results(case, "dense", sampling, dense_gradient)
            sparse = _results(case, "sparse", sampling, dense_gradient if not on_mask else False)
            worst = max(worst, *(float(np.abs(a - b).max(initial=0.0)) for a, b in zip(dense, sparse, strict=True)))
            scale = max(scale, *(float(np.abs(a).max(initial=0.0)) for a in dense))
    return Measurement(worst, 0.0, scale=scale)


sparse_products = Claim(
    name="bayesian_networks.sparse_products",
    summary="Products at the weights on the mask alone give the outputs and all gradients of dense products.",
    statement=r"(x M^T, x^2 V^T)_{CSR} = (x M^T, x^2 V^T), \quad \nabla_{CSR} = \nabla",
    source=Source.ours("the derivative by a weight is an inner product of a column of inputs and one of outputs"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.one_of(*(cases(convolutions=False, n=n) for n in (1, 3, 40))),
    evaluate=lambda case: _compared(case, on_mask=False),
    near_miss=lambda case: _compared(case, on_mask=True),
)
