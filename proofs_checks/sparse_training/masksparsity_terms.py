"""Claims about penalties on masked entries, the bias of what is kept, and channels taken out of networks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import weights
from sparsetheory.penalties import L1, Lq
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_PAPER = partial(
    Source, "Jiang et al., Pruning-aware Sparse Regularization for Network Pruning, 2022", arxiv="2201.06776"
)
_SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True, eq=False)
class Scales:
    """Scales of channels, which of them are pruned, a strength, a learning rate and the kind of the penalty."""

    values: Float64Array
    pruned: BoolArray
    alpha: float
    lr: float
    kind: str

    def added(self) -> Float64Array:
        """Return what the package adds to gradients of zero."""
        return stepped(self.values, self.pruned, self.alpha, self.kind, self.lr)[1]


def stepped(
    values: Float64Array, pruned: BoolArray, alpha: float, kind: str, lr: float, gradient: Float64Array | float = 0.0
) -> tuple[Float64Array, Float64Array]:
    """Take one gradient step with a penalty on masked entries; return entries and what was the whole gradient."""
    import torch

    scale = torch.nn.Parameter(tensor(values))
    optimizer = torch.optim.SGD([scale], lr=lr)
    weights.MaskedPenalty(optimizer, [scale], [tensor(pruned)], alpha, kind)
    scale.grad = tensor(np.broadcast_to(gradient, np.shape(values)))
    optimizer.step()
    return array(scale), array(scale.grad)


def _draw_scales(seed: int, alpha: float, lr: float, kind: str) -> Scales:
    rng = np.random.default_rng(seed)
    switch = lr * alpha
    # Around the switch, at it, at zero, and of the size of scales.
    values = np.concatenate([switch * rng.uniform(-2, 2, 4), [switch, -switch, 0.0, -0.0], rng.standard_normal(4)])
    return Scales(values, rng.random(values.size) < 0.7, alpha, lr, kind)


def _scales() -> st.SearchStrategy[Scales]:
    kinds = st.sampled_from(["l1", "l2", "smooth_l1"])
    return st.builds(
        _draw_scales, _SEEDS, st.sampled_from([0.0, 5e-4, 0.25, 2.0]), st.sampled_from([0.0, 0.1, 0.5]), kinds
    )


def _by_hand(case: Scales, strict: bool = True) -> Float64Array:
    linear, constant = case.alpha * case.values, case.alpha * np.sign(case.values)
    sizes, switch = np.abs(case.values), case.lr * case.alpha
    small = sizes < switch if strict else sizes <= switch
    of_kind = {"l1": constant, "l2": linear, "smooth_l1": np.where(small, linear, constant)}
    return np.asarray(of_kind[case.kind] * case.pruned)


def _terms(case: Scales, strict: bool = True) -> Measurement:
    """Compare the added gradients with the formulas, and with the one for all entries on those that are pruned.

    It is zero where an entry is kept, and where it is zero.
    """
    added = case.added()
    everywhere = Scales(case.values, np.ones_like(case.pruned), case.alpha, case.lr, case.kind).added()
    off = np.abs(added - _by_hand(case, strict)).max() + np.abs(added - everywhere)[case.pruned].max(initial=0.0)
    off += np.abs(added[~case.pruned | (case.values == 0)]).max(initial=0.0)
    return Measurement(float(off), 0.0, scale=1.0)


masksparsity_terms = Claim(
    name="sparse_training.masksparsity_terms",
    summary="What is added to gradients is that of the published code: its signs, and where the smooth kind jumps.",
    statement=r"\Delta g = M \odot \begin{cases} \alpha\, \mathrm{sign}(\gamma) & \ell_1 \\ \alpha \gamma & \ell_2"
    r" \\ \alpha \gamma \text{ if } |\gamma| < \eta \alpha, \text{ else } \alpha\, \mathrm{sign}(\gamma) &"
    r" \text{smooth} \end{cases}",
    source=_PAPER(item="subgradients of its code", provenance="authors' code"),
    verdict=Always(0.0),
    instances=_scales,
    evaluate=_terms,
    # The linear part up to the switch and including it.
    near_miss=partial(_terms, strict=False),
)


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Least-squares coefficients of an orthonormal design above a threshold, the threshold, and an exponent."""

    b: Float64Array
    alpha: float
    q: float

    def by_penalty(self, pruned: bool) -> Float64Array:
        """Return the minimiser with l1 on all, or on none of these kept coefficients: one whole gradient step."""
        start = self.b + 0.5 * np.sign(self.b)
        return stepped(start, np.full(self.b.shape, pruned), self.alpha, "l1", 1.0, start - self.b)[0]


def _draw_coefficients(seed: int, alpha: float, q: float) -> Coefficients:
    rng = np.random.default_rng(seed)
    sizes = alpha * (1.0 + 10.0 ** rng.uniform(-3.0, 1.5, 8))
    return Coefficients(rng.choice([-1.0, 1.0], 8) * sizes, alpha, q)


def _coefficients() -> st.SearchStrategy[Coefficients]:
    exponents = st.sampled_from([0.1, 0.5, 2 / 3, 0.9])
    return st.builds(_draw_coefficients, _SEEDS, st.floats(0.05, 2.0), exponents)


def _equal_threshold(alpha: float, q: float) -> Lq:
    """Return the penalty whose operator has the threshold of soft thresholding."""
    # The threshold is a constant times the strength to the power 1 / (2 - q).
    return Lq((alpha / Lq(1.0, q=q).zero_threshold()) ** (2.0 - q), q=q)


def _biases(case: Coefficients, between: Callable[[Coefficients], Float64Array] | None = None) -> Measurement:
    r"""Compare the bias of kept coefficients: alpha for l1, none for l1 on the others, and for l^q in between.

    On an orthonormal design the problems fall apart. With l1 on every coefficient, ``s = b - alpha sign(b)``; without
    it on the kept ones, s = b. For ``c |s|^q`` with the threshold alpha, let z be the value right above it. From
    ``z = (2 c (1 - q))^(1 / (2 - q))`` and ``alpha = z (2 - q) / (2 (1 - q))`` the bias there is
    ``alpha - z = alpha q / (2 - q)``. It is ``c q s^(q - 1)``, which falls with s, so it is smaller above.
    """
    size, sign = np.abs(case.b), np.sign(case.b)
    everywhere, masked = (sign * (case.b - case.by_penalty(pruned)) for pruned in (True, False))
    power = _equal_threshold(case.alpha, case.q)
    found = np.asarray(power.prox(case.b, 1.0)) if between is None else between(case)
    bias = sign * (case.b - found)
    off = np.abs(everywhere - case.alpha).max() + np.abs(masked).max()
    highest = float(bias.max())
    chain = {
        "none": 0.0,
        "least bias of l^q": float(bias.min()),
        "largest bias of l^q": highest,
        "alpha q / (2 - q)": case.alpha * case.q / (2.0 - case.q),
        "alpha": case.alpha,
    }
    return Measurement(float(off), 0.0, scale=float(size.max())).and_chain(chain)


def _soft(case: Coefficients) -> Float64Array:
    """Shrink all coefficients by l1."""
    return np.asarray(L1(case.alpha).prox(case.b, 1.0))


masksparsity_bias = Claim(
    name="sparse_training.masksparsity_bias",
    summary="Kept coefficients are biased by alpha under l1, not at all if it is on the others only, and less by l^q.",
    statement=r"b - s_{\ell_1} = \alpha, \quad b - s_{\text{masked}} = 0, \quad"
    r" 0 < b - s_{\ell_q} \le \tfrac{q}{2 - q} \alpha < \alpha \quad (X^\top X = I, \text{ equal thresholds})",
    source=Source.ours("bias of kept coefficients on orthonormal designs"),
    verdict=Always(1e-9),
    instances=_coefficients,
    evaluate=_biases,
    near_miss=partial(_biases, between=_soft),
)
