"""Claims about the error of leaving out small neurons: what bounds it, what it is, and that it need not grow."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import activations
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_SOURCE = "Luo et al., Sparsing Law, 2024"
_ARXIV = "2411.02335"
# Sums of at most 12 products in double precision, relative to the sum of the norms of neurons.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Layer:
    """Hidden activations of some tokens, the weight behind them, and a norm to cut at."""

    h: Float64Array
    w_out: Float64Array
    eps: float

    @property
    def parts(self) -> Float64Array:
        """What each neuron adds to each output, of shape (tokens, neurons, width)."""
        return np.asarray(self.h[:, :, None] * self.w_out.T)

    @property
    def norms(self) -> Float64Array:
        """Norm of each of these."""
        return np.asarray(np.linalg.norm(self.parts, axis=2))

    @property
    def outputs(self) -> Float64Array:
        """Norm of the output of each token."""
        return np.asarray(np.linalg.norm(self.h @ self.w_out.T, axis=1))

    def cett(self, eps: float) -> Float64Array:
        """Return the relative error without neurons below a norm."""
        return array(activations.cett(tensor(self.h), tensor(self.w_out), eps))


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """Draw small layers; with few values of entries contributions cancel, tie and vanish."""
    n_tokens, width, n_neurons = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    h, w_out = rng.standard_normal((n_tokens, n_neurons)), rng.standard_normal((width, n_neurons))
    if draw(st.booleans()):
        h, w_out = np.round(2 * h), np.round(w_out)
    if draw(st.booleans()):
        w_out[:, 1::2] = -w_out[:, : n_neurons // 2 * 2 : 2]
    # A token without output has no share of it.
    h[np.linalg.norm(h @ w_out.T, axis=1) <= 1e-9 * np.abs(h).max(initial=0)] = 0
    keep = np.linalg.norm(h @ w_out.T, axis=1) > 0
    if not keep.any():
        h, w_out, keep = np.ones((1, n_neurons)), np.abs(w_out) + 1.0, np.ones(1, dtype=bool)
    return Layer(h[keep], w_out, draw(st.floats(0, 4)))


def _triangle(layer: Layer) -> Measurement:
    """Compare the error with the sum of the norms of what is left out, and its values at both ends.

    The error is a norm of a sum, the bound the sum of the norms; only the bound grows with the cut.
    """
    dropped = np.where(layer.norms < layer.eps, layer.norms, 0.0).sum(1)
    scale = float(layer.norms.sum())
    found = Measurement.worst(layer.cett(layer.eps) * layer.outputs, dropped, scale=scale)
    ends = np.concatenate([layer.cett(0.0), np.abs(layer.cett(np.inf) - 1.0)])
    return found.and_chain({"values at the ends": float(ends.max()), "0": 0.0})


def _at_most_one(layer: Layer) -> Measurement:
    """Expect what is left out never to exceed the whole output."""
    return Measurement.worst(layer.cett(layer.eps) * layer.outputs, layer.outputs, scale=float(layer.norms.sum()))


cett_triangle = Claim(
    name="activation_sparsity.cett_triangle",
    summary="The error of leaving out neurons is at most the sum of their norms, and may exceed the output itself.",
    statement=r"\text{CETT}(\epsilon)\, \|y\| \le \sum_{\|n_i\| < \epsilon} \|n_i\|, \quad"
    r" \text{CETT}(0) = 0,\ \text{CETT}(\infty) = 1",
    source=Source(_SOURCE, "definition of CETT", _ARXIV),
    verdict=Always(rtol=_ROUNDING),
    instances=layers,
    evaluate=_triangle,
    near_miss=_at_most_one,
)


def _pruned_error(layer: Layer, *, by_norm: bool) -> Measurement:
    """Compare the error of a network run with one threshold per neuron with CETT.

    A neuron is below the norm where ``|h_i| < eps / |W_i|``. At norms within rounding of the cut the two may differ.
    """
    h, w_out = tensor(layer.h), tensor(layer.w_out)
    near = np.abs(layer.norms - layer.eps) <= 1e-12 * (layer.norms + layer.eps)
    clear = ~near.any(axis=1) | (layer.eps == 0)
    rule = activations.SizeThreshold.of_norms(layer.eps, w_out) if by_norm else activations.SizeThreshold(layer.eps)
    dense, pruned = h @ w_out.T, h.masked_fill(~rule(h), 0) @ w_out.T
    errors = array((dense - pruned).norm(dim=1))
    gap = np.abs(errors - layer.cett(layer.eps) * layer.outputs)[clear]
    return Measurement.worst(gap, np.zeros_like(gap), scale=float(layer.norms.sum()))


cett_of_pruned = Claim(
    name="activation_sparsity.cett_of_pruned",
    summary="A network with one threshold for each neuron errs by exactly CETT times its output.",
    statement=r"\|W h - W (h \odot 1[|h_i| \ge \epsilon / \|W_i\|])\| = \text{CETT}(\epsilon)\, \|W h\|",
    source=Source(_SOURCE, "section on CETT, and the authors' code", _ARXIV),
    verdict=Always(rtol=_ROUNDING),
    instances=layers,
    evaluate=lambda layer: _pruned_error(layer, by_norm=True),
    near_miss=lambda layer: _pruned_error(layer, by_norm=False),
)


@dataclass(frozen=True, eq=False)
class Cancelling:
    """Two neurons that pull in opposite directions, the second stronger by a share s, and a large third one."""

    layer: Layer
    share: float

    @property
    def without_one(self) -> float:
        """Error without the weakest neuron."""
        return float(self.layer.cett(1.0 + self.share / 2)[0])

    @property
    def without_two(self) -> float:
        """Error without the two weaker neurons."""
        return float(self.layer.cett(1.5 + self.share)[0])


@st.composite
def _cancelling(draw: st.DrawFn) -> Cancelling:
    width, share = draw(st.integers(2, 6)), draw(st.floats(0.01, 0.9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    basis = np.linalg.qr(rng.standard_normal((width, 2))).Q
    columns = np.stack([basis[:, 0], -basis[:, 0], basis[:, 1]], axis=1)
    return Cancelling(Layer(np.array([[1.0, 1.0 + share, 4.0]]), columns, 0.0), share)


def _falls(case: Cancelling) -> Measurement:
    """Compare the error without both neurons with s times that without the first.

    Along one unit vector they add 1 and -(1 + s). Without the first the error is 1, without both it is s.
    """
    return Measurement(case.without_two, case.share * case.without_one, scale=1.0)


cett_not_monotone = Claim(
    name="activation_sparsity.cett_not_monotone",
    summary="To leave out more neurons may lower the error, against what the paper says.",
    statement=r"n_2 = -(1 + s)\, n_1: \quad \text{CETT}(\text{without } n_1, n_2) \le s\,"
    r" \text{CETT}(\text{without } n_1), \quad 0 < s < 1",
    source=Source.ours("counterexample to the monotonicity of CETT"),
    verdict=Always(rtol=1e-13),
    instances=_cancelling,
    evaluate=_falls,
    near_miss=lambda case: Measurement(case.without_one, case.without_two, scale=1.0),
)
