"""Claims about the k largest activations: the best sparse vector, a step of hard thresholding, supports recovered."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_seeds = st.integers(0, 2**32 - 1)
_KINDS = ("gaussian", "integers", "equal", "negative")
_POWERS = (1.0, 2.0, 4.0)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Inputs of a few tokens, and how many entries each keeps."""

    x: Float64Array
    k: int
    factor: float


def _draw_tokens(rng: np.random.Generator, size: float, kind: str = "gaussian", k: int = 0) -> Tokens:
    n = int(size)
    x = rng.standard_normal((4, n))
    if kind == "integers":
        x = rng.integers(-2, 3, x.shape).astype(float)
    elif kind == "equal":
        x = np.ones_like(x)
    elif kind == "negative":
        x = -np.abs(x)
        x[:, 0] = 1.0
    return Tokens(x, k or max(n // 3, 1), float(2.0 ** rng.integers(-3, 4)))


@st.composite
def _tokens(draw: st.DrawFn) -> Tokens:
    size = draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(_seeds))
    return _draw_tokens(rng, size, draw(st.sampled_from(_KINDS)), draw(st.integers(1, size)))


def _top_k(x: Float64Array, k: int) -> Float64Array:
    from sparsetheory.gpu.activations import topk_relu

    return array(topk_relu(tensor(x), k))


def _least_errors(a: Float64Array, k: int) -> Float64Array:
    """Return the least error of k entries in some norms, to their powers, by trying all supports."""
    left_out = [list(choice) for choice in combinations(range(a.shape[1]), a.shape[1] - k)]
    return np.array([[min((row[choice] ** p).sum() for choice in left_out) for row in a] for p in _POWERS])


def _approximation(tokens: Tokens, kept: Float64Array) -> Measurement:
    """Compare errors of what is kept with the least ones, then counts, and scaled inputs.

    For a given support the error to the power p is the sum of ``a_i^p`` off it if values on it are those of a. That is
    least if the largest are on it, whatever p is.
    """
    a = np.maximum(tokens.x, 0.0)
    errors = np.array([(np.abs(a - kept) ** p).sum(-1) for p in _POWERS])
    scale = max(float((a**4).sum()), 1.0)
    found = Measurement.worst(errors, _least_errors(a, tokens.k), scale=scale)
    found = found.and_chain({"entries kept": float((kept != 0).sum(-1).max()), "allowed": float(tokens.k)})
    scaled = float(np.abs(_top_k(tokens.factor * tokens.x, tokens.k) - tokens.factor * kept).max())
    found = found.and_chain({"change by scale": scaled, "none": 0.0})
    return found.and_chain({"change of gradients": _gradient_error(tokens), "no change": 0.0})


def _gradient_error(tokens: Tokens) -> float:
    """Return how far the gradient is from the mask of kept positive entries."""
    from sparsetheory.gpu.activations import topk_relu

    x = tensor(tokens.x).requires_grad_()
    y = topk_relu(x, tokens.k)
    y.sum().backward()
    return float(np.abs(array(x.grad) - (array(y) > 0)).max())


def _best(tokens: Tokens) -> Measurement:
    """Take the k largest, the lowest index of those that tie."""
    return _approximation(tokens, _top_k(tokens.x, tokens.k))


def _all_ties(tokens: Tokens) -> Measurement:
    """Keep whatever is at least the k-th largest."""
    a = np.maximum(tokens.x, 0.0)
    return _approximation(tokens, np.where(a >= -np.sort(-a, axis=1)[:, tokens.k - 1 : tokens.k], a, 0.0))


top_k = Claim(
    name="activation_sparsity.top_k",
    summary="The k largest activations are the best vector of k entries in every norm, and never more than k.",
    statement=r"\|a - \mathrm{top}_k(a)\|_p = \min_{\|z\|_0 \le k} \|a - z\|_p,"
    r" \quad \mathrm{top}_k(c\, a) = c\, \mathrm{top}_k(a)",
    source=Source.classic("Blumensath and Davies (2009)", "best sparse approximation by hard thresholding"),
    verdict=Always(rtol=1e-14),  # sums of at most 8 powers in two orders
    instances=_tokens,
    evaluate=_best,
    near_miss=_all_ties,
    sweep=Sweep(
        axis="features",
        values=(3, 6, 9, 12),
        draw=_draw_tokens,
        trials=20,
        quick_trials=3,
        measured_label="error",
        bound_label="least error",
        y_label="error of the worst token and norm",
    ),
)


@dataclass(frozen=True, eq=False)
class Layer:
    """Atoms as columns, signals, and how many entries a code has."""

    atoms: Float64Array
    signals: Float64Array
    k: int


def _draw_layer(rng: np.random.Generator, n_atoms: float, k: int = 0) -> Layer:
    n, size = int(n_atoms), 8
    return Layer(rng.standard_normal((size, n)), rng.standard_normal((5, size)), k or max(n // 4, 1))


@st.composite
def _layers(draw: st.DrawFn) -> Layer:
    n = draw(st.integers(1, 20))
    return _draw_layer(np.random.default_rng(draw(_seeds)), n, draw(st.integers(1, n)))


def _step(layer: Layer, *, magnitude: bool) -> Measurement:
    """Compare selected correlations with the first step of the solver, times the curvature that divides it."""
    from sparsetheory.gpu.activations import Largest
    from sparsetheory.gpu.core import PerRow
    from sparsetheory.gpu.solvers import hard_thresholding

    K, x = tensor(layer.atoms), tensor(layer.signals)
    with one_thread():
        gram, correlations = K.T @ K, x @ K
        options: dict[str, Any] = {"preconditioned": False, "refit": False, "step": 1.0, "max_iter": 1}
        step = hard_thresholding(gram, correlations, PerRow(layer.k), **options).coef
        curvature = float(np.linalg.eigvalsh(array(gram))[-1])
    selected = correlations * Largest(layer.k, magnitude=magnitude)(correlations)
    return Measurement.worst(
        np.abs(array(selected) - curvature * array(step)), 0.0, scale=float(correlations.abs().max())
    )


def _one_step(layer: Layer) -> Measurement:
    """Select by size: for rectified correlations, whose largest are positive, that is the top-k layer."""
    return _step(layer, magnitude=True)


def _by_value(layer: Layer) -> Measurement:
    """Select by value where entries may be negative."""
    return _step(layer, magnitude=False)


hard_thresholding_step = Claim(
    name="activation_sparsity.hard_thresholding_step",
    summary="With its weights as a dictionary, a layer that keeps k entries is a step of iterative hard thresholding.",
    statement=r"H_k(K^T x) = L\, H_k\big(0 + \tfrac1L K^T (x - K 0)\big), \quad L = \|K\|_2^2",
    source=Source.ours("top-k layers as the first step of Blumensath and Davies' solver"),
    verdict=Always(rtol=1e-11),  # the largest eigenvalue, in two ways
    instances=_layers,
    evaluate=_one_step,
    near_miss=_by_value,
)


@dataclass(frozen=True, eq=False)
class Planted:
    """Atoms, the number and the range of the entries of codes, and a seed of codes."""

    atoms: Float64Array
    k: int
    dynamic_range: float
    seed: int


def _gaussian(rng: np.random.Generator, k: float) -> Planted:
    """Draw 60 atoms in 400 dimensions, which are nearly orthogonal."""
    return Planted(rng.standard_normal((400, 60)), int(k), 1.0, int(rng.integers(2**31)))


def _sum_of_others(k: int, mu: float, dynamic_range: float, seed: int) -> Planted:
    """Make k orthogonal atoms and one more that has the cosine mu with each, the worst case of the condition."""
    atoms = np.eye(k + 1)
    atoms[:k, k] = mu
    atoms[k, k] = np.sqrt(1 - k * mu**2)
    return Planted(atoms, k, dynamic_range, seed)


@st.composite
def _planted(draw: st.DrawFn) -> Planted:
    seed, k = draw(_seeds), draw(st.integers(1, 6))
    if draw(st.booleans()):
        return _gaussian(np.random.default_rng(seed), k)
    mu = draw(st.floats(0.01, 0.99)) / np.sqrt(k)
    return _sum_of_others(k, mu, draw(st.sampled_from((1.0, 1.5, 4.0))), seed % 2**31)


def _missed(case: Planted, *, slack: float = 1.0) -> Measurement:
    from sparsetheory.gpu.activations import recovery_is_certain, support_recovery_rate

    K = tensor(case.atoms)
    with one_thread():
        options: dict[str, Any] = {"dynamic_range": case.dynamic_range, "n_trials": 60, "generator": case.seed}
        missed = 1.0 - support_recovery_rate(K, case.k, **options)
        certain = recovery_is_certain(K, case.k, max(case.dynamic_range / slack, 1.0))
    return Measurement(missed, 0.0 if certain else 1.0, 1.0)


def _certain(case: Planted) -> Measurement:
    """Expect every support to be found where the condition holds; beyond it nothing is promised."""
    return _missed(case)


def _forget_range(case: Planted) -> Measurement:
    """Take entries of all sizes for equal ones."""
    return _missed(case, slack=case.dynamic_range)


coherent_supports = Claim(
    name="activation_sparsity.coherent_supports",
    summary="The k largest correlations are the support of a code without negative entries, if atoms are incoherent.",
    statement=r"(2k - 1)\, \mu < \frac{a_{\min}}{a_{\max}} \implies \mathrm{supp}\, \mathrm{top}_k(K^T K a)"
    r" = \mathrm{supp}(a)",
    source=Source.classic("Tropp, Greed is good, 2004", "coherence condition, here for one step of thresholding"),
    verdict=Always(rtol=0.0),
    instances=_planted,
    evaluate=_certain,
    near_miss=_forget_range,
    sweep=Sweep(
        axis="entries of a code, for 60 normal atoms in 400 dimensions",
        values=(1, 2, 3, 5, 8, 12, 16, 20, 30),
        draw=_gaussian,
        trials=20,
        quick_trials=3,
        measured_label="share of supports that are missed",
        bound_label="promised at most",
        y_label="share of codes",
    ),
)
