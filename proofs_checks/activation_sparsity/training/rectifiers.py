"""Claims about single layers: FATReLU as a proximal operator, the penalty's gradient, and rows that are skipped."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import AnyArray, Float64Array

_SONG = "Song et al., ProSparse: Introducing and Enhancing Intrinsic Activation Sparsity within LLMs, 2024"
_seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs of a rectifier and a threshold; some lie at it."""

    x: Float64Array
    threshold: float


def _draw_inputs(rng: np.random.Generator, threshold: float) -> Inputs:
    x = rng.standard_normal(40) * 10.0 ** rng.uniform(-2, 2)
    x[:6] = threshold, -threshold, 0.0, -0.0, np.nextafter(threshold, 0.0), 2 * threshold
    return Inputs(x, threshold)


def _fatrelu(x: Float64Array, threshold: float) -> Float64Array:
    from sparsetheory.gpu.activations import FATReLU

    return array(FATReLU(threshold)(tensor(x)))


def _costs(x: Float64Array, z: Float64Array, threshold: float) -> Float64Array:
    return np.asarray((z - x) ** 2 / 2 + threshold**2 / 2 * (z != 0))


def _proximal(inputs: Inputs) -> Measurement:
    """Compare FATReLU with the best of the two candidates, entry by entry, and with ReLU.

    For z > 0 the cost ``(z - x)^2 / 2 + t^2 / 2`` is least at ``z = x``, if x is positive; otherwise its infimum is
    that of z towards 0, which costs more than 0 itself. So only 0 and x are candidates.
    """
    x, t = inputs.x, inputs.threshold
    relu, kept = np.maximum(x, 0.0), _fatrelu(x, t)
    best = np.minimum(_costs(x, np.zeros_like(x), t), np.where(x > 0, _costs(x, relu, t), np.inf))
    found = Measurement.worst(_costs(x, kept, t), best, scale=float((x**2).max() + t**2))
    found = found.and_chain({"zero": 0.0, "least of ReLU - FATReLU": float((relu - kept).min())})
    found = found.and_chain({"largest of ReLU - FATReLU": float((relu - kept).max()), "threshold": t})
    zeros = [float((_fatrelu(x, s * t) == 0).mean()) for s in (0.0, 0.5, 1.0, 2.0)]
    return found.and_chain({f"zeros at {s} t": share for s, share in zip((0.0, 0.5, 1.0, 2.0), zeros, strict=True)})


def _soft(inputs: Inputs) -> Measurement:
    """Take the l1 norm for the number of entries: what is kept becomes too small by the threshold."""
    x, t = inputs.x, inputs.threshold
    best = _costs(x, _fatrelu(x, t), t)
    return Measurement.worst(_costs(x, np.maximum(x - t, 0.0), t), best, _proximal(inputs).scale)


fatrelu = Claim(
    name="activation_sparsity.fatrelu",
    summary="FATReLU is the proximal operator of counting entries, over values of at least zero; zeros grow with t.",
    statement=r"\mathrm{FATReLU}_t(x) \in \arg\min_{z \ge 0} \tfrac12 (z - x)^2 + \tfrac{t^2}{2} \|z\|_0,"
    r" \quad 0 \le \mathrm{ReLU}(x) - \mathrm{FATReLU}_t(x) \le t",
    source=Source.ours("FATReLU as a hard threshold of sqrt(2 alpha) for alpha = t^2 / 2"),
    verdict=Always(rtol=1e-15),  # squares of differences, compared at the scale of the largest square
    instances=lambda: st.builds(
        lambda seed, t: _draw_inputs(np.random.default_rng(seed), t), _seeds, st.sampled_from((1e-3, 0.01, 0.5, 3.0))
    ),
    evaluate=_proximal,
    near_miss=_soft,
    sweep=Sweep(
        axis="threshold",
        values=(0.01, 0.1, 1.0, 10.0),
        draw=_draw_inputs,
        trials=30,
        quick_trials=5,
        log="xy",
        measured_label="cost of FATReLU",
        bound_label="least cost",
        y_label="cost of the worst entry",
    ),
)


@dataclass(frozen=True, eq=False)
class Network:
    """A gated network of widths d and f, tokens, and a strength; float64 or float32."""

    gate: AnyArray
    up: AnyArray
    down: AnyArray
    x: AnyArray
    threshold: float


def _draw_network(rng: np.random.Generator, hidden: float, width: int = 9, single: bool = False) -> Network:
    f = int(hidden)
    dtype = np.float32 if single else np.float64
    gate, up = (rng.standard_normal((f, width)).astype(dtype) for _ in range(2))
    down, x = rng.standard_normal((width, f)).astype(dtype), rng.standard_normal((5, width)).astype(dtype)
    return Network(gate, up, down, x, float(rng.choice([0.0, 0.5, 2.0])))


@st.composite
def _networks(draw: st.DrawFn) -> Network:
    rng = np.random.default_rng(draw(_seeds))
    return _draw_network(rng, draw(st.integers(1, 40)), draw(st.integers(1, 20)), draw(st.booleans()))


def _module(network: Network) -> Any:
    import torch

    from sparsetheory.gpu.activations import FATReLU
    from sparsetheory.gpu.core.models import GatedFFN

    f, d = network.gate.shape
    module = GatedFFN(d, f)
    module.activation = FATReLU(network.threshold)
    module.to(tensor(network.x).dtype)
    with torch.no_grad():
        for layer, weight in zip((module.gate, module.up, module.down), _weights(network), strict=True):
            layer.weight.copy_(tensor(weight))
    return module


def _weights(network: Network) -> tuple[AnyArray, AnyArray, AnyArray]:
    return network.gate, network.up, network.down


def _hidden(network: Network) -> tuple[AnyArray, AnyArray]:
    """Return gates and hidden activations."""
    gates = _fatrelu(network.x @ network.gate.T, network.threshold)
    return gates, gates * (network.x @ network.up.T)


def _gradients(network: Network, expected: Float64Array) -> Measurement:
    """Compare the gradient of the term by the rows of `up` with what the hidden activations send there."""
    import torch

    from sparsetheory.gpu.activations import ActivationPenalty

    module = _module(network)
    penalty = ActivationPenalty(torch.optim.SGD(module.parameters()), module, 0.7)
    module(tensor(network.x))
    penalty.term().backward()
    found = array(module.up.weight.grad)
    scale = float((np.abs(_hidden(network)[0]).T @ np.abs(network.x)).max()) / expected.size * 0.7 * len(network.x)
    weights = (expected * _hidden(network)[0]).T @ network.x
    rtol = float(np.finfo(network.x.dtype).eps)
    return Measurement.worst(np.abs(found - weights), 64 * rtol * scale, scale=max(scale, 1e-30))


def _signs(network: Network) -> Measurement:
    """Expect alpha sign(h) / count at the products h of gate and value."""
    hidden = _hidden(network)[1]
    return _gradients(network, 0.7 * np.sign(hidden) / hidden.size)


def _signs_of_gates(network: Network) -> Measurement:
    """Expect it at the gates, whose sign is never negative."""
    gates = _hidden(network)[0]
    return _gradients(network, 0.7 * np.sign(gates) / gates.size)


penalty_gradient = Claim(
    name="activation_sparsity.penalty_gradient",
    summary="The penalty pulls every hidden activation towards zero by its strength over their number, at zero not.",
    statement=r"\frac{\partial}{\partial x_1} \lambda \, \mathrm{mean} |x_1| = \frac{\lambda}{n} \mathrm{sign}(x_1),"
    r" \quad x_1 = \sigma(x W_s^T) \odot (x W_1^T)",
    source=Source(_SONG, "section on progressive sparsity regularization", arxiv="2402.13516"),
    verdict=Always(rtol=1e-15),  # the bound already holds roundings of sums of at most 20 products
    instances=_networks,
    evaluate=_signs,
    near_miss=_signs_of_gates,
)


def _skipped(network: Network, least: float = 0.0) -> Measurement:
    r"""Compare the network that skips rows with the dense one, within the roundings of the sums.

    A sum of n products, in any order, is off by at most ``(n + 2) u`` times the sum of their sizes, to first order.
    Both ways have the same gates; then come products of d terms, one more factor, and sums of f terms.
    """
    from sparsetheory.gpu.activations import skipping_product

    # Of a single token rows are skipped at any share.
    network = replace(network, x=network.x[:1])
    with one_thread():
        gates, hidden = _hidden(network)
        dense = hidden @ network.down.T
        found = array(_skipping(network, gates, least))
        again = array(skipping_product(tensor(hidden), tensor(np.ascontiguousarray(network.down.T)), crossing=1.0))
    sizes = (np.abs(gates) * (np.abs(network.x) @ np.abs(network.up).T)) @ np.abs(network.down).T
    terms = 2 * (sum(network.gate.shape) + 8)
    bound = terms * float(np.finfo(network.x.dtype).eps) * sizes
    scale = max(float(sizes.max()), 1e-30)
    worst = np.maximum(np.abs(found - dense), np.abs(again - dense))
    return Measurement.worst(worst, bound, scale=scale)


def _skipping(network: Network, gates: AnyArray, least: float) -> Any:
    from sparsetheory.gpu.activations import gated_product

    kept = np.where(np.abs(gates) > least, gates, 0).astype(gates.dtype)
    given = (kept, network.x, network.up, np.ascontiguousarray(network.down.T))
    return gated_product(*map(tensor, given), crossing=1.0)


def _small_too(network: Network) -> Measurement:
    """Skip gates that are small, and not only those that are zero."""
    return _skipped(network, least=0.05)


skipped_rows = Claim(
    name="activation_sparsity.skipped_rows",
    summary="Rows of inactive units add nothing: what skips them computes what the dense network does, up to rounding.",
    statement=r"\Big| \sum_{i: s_i \ne 0} s_i (w_i^T x) v_i - V (s \odot W x) \Big|"
    r" \le 2 (d + f + 8)\, u \, |V| (|s| \odot |W| |x|)",
    source=Source(_SONG, "exact acceleration by sparse operators", arxiv="2402.13516"),
    verdict=Always(rtol=1e-15),
    instances=_networks,
    evaluate=_skipped,
    near_miss=_small_too,
    sweep=Sweep(
        axis="hidden units",
        values=(10, 100, 1000),
        draw=_draw_network,
        trials=20,
        quick_trials=3,
        log="xy",
        measured_label="difference",
        bound_label="roundings",
        y_label="output of the worst entry",
    ),
)
