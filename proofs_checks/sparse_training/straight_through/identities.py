"""Exact claims about masks that fade in, sequences of patterns, and the divergence of masks."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_PATTERNS = ((1, 2), (2, 4), (1, 4), (3, 4), (4, 4), (3, 8))


@dataclass(frozen=True, eq=False)
class Fading:
    """A stored weight, the gradient that arrives at what is used, a pattern, and a factor as a part of some steps."""

    weight: Float64Array
    incoming: Float64Array
    pattern: tuple[int, int]
    step: int
    steps: int

    def pass_through(self, backward: str, step: int | None = None) -> tuple[Float64Array, Float64Array]:
        """Return what is used at a step, and the gradient of the stored weight."""
        decay = core.MaskDecay("linear", 1 / self.steps)
        one = weights.SparseSTE(core.NM(*self.pattern), mask_decay=decay, backward=backward)
        one.step = self.step if step is None else step
        stored = tensor(self.weight).requires_grad_()
        used = one(stored)
        used.backward(tensor(self.incoming))
        return array(used), array(stored.grad)


@st.composite
def _fadings(draw: st.DrawFn) -> Fading:
    n, m = draw(st.sampled_from(_PATTERNS))
    rng = np.random.default_rng(draw(seeds))
    shape = draw(st.integers(1, 3)), m * draw(st.integers(1, 3))
    weight = rng.choice([-1.0, 0.0, 1.0], shape) if draw(st.booleans()) else rng.standard_normal(shape)
    steps = draw(st.integers(1, 8))
    return Fading(weight, rng.standard_normal(shape), (n, m), draw(st.integers(0, steps)), steps)


def _kept_by_hand(case: Fading) -> Float64Array:
    """Return 1 for the n largest of each group, the first among equals, and 0 else."""
    n, m = case.pattern
    groups = np.abs(case.weight).reshape(-1, m)
    kept = np.zeros_like(groups)
    for magnitudes, row in zip(groups, kept, strict=True):
        row[sorted(range(m), key=lambda i: (-magnitudes[i], i))[:n]] = 1.0
    return kept.reshape(case.weight.shape)


def _gradient_error(case: Fading, backward: str) -> Measurement:
    """Compare what is used with the line from the dense to the sparse weight, and the gradient with the slope."""
    kept, factor = _kept_by_hand(case), 1 - case.step / case.steps
    used, gradient = case.pass_through(backward)
    dense, _ = case.pass_through(backward, 0)
    sparse, _ = case.pass_through(backward, case.steps)
    line = factor * case.weight + (1 - factor) * case.weight * kept
    slope = case.incoming * (kept + (1 - kept) * factor)
    ends = np.abs(dense - case.weight).max() + np.abs(sparse - case.weight * kept).max()
    found = max(np.abs(used - line).max(), np.abs(gradient - slope).max(), ends)
    return Measurement(float(found), 0.0, scale=float(np.abs(case.weight).max() + np.abs(case.incoming).max()))


def _fades(case: Fading) -> Measurement:
    """Measure with the gradient that is scaled: it is the derivative of what is used, for a mask that stays."""
    return _gradient_error(case, "scaled")


def _passed_on(case: Fading) -> Measurement:
    """Take the straight-through gradient for the derivative."""
    return _gradient_error(case, "ste")


fading_weight = Claim(
    name="sparse_training.fading_weight",
    summary="A mask that fades in goes straight from the dense weight to the sparse one; the scaled gradient is its"
    " derivative.",
    statement=r"W_D = W \odot (E + (1 - E) D) = D\, W + (1 - D)\, W_0, \quad"
    r" \partial W_D / \partial W = E + (1 - E) D",
    source=Source("Bambhaniya et al., Progressive Gradient Flow, 2024", "mask decay", "2402.04744"),
    verdict=Always(rtol=1e-12),
    instances=_fadings,
    evaluate=_fades,
    near_miss=_passed_on,
)


@dataclass(frozen=True)
class Frames:
    """A sequence of patterns: its kind, its target, and its epochs."""

    kind: str
    n: int
    m: int
    dense: int
    span: int
    finetune: int

    @property
    def decay(self) -> "core.StructureDecay":
        """The sequence."""
        total = self.dense + self.span + self.finetune
        return core.StructureDecay(self.kind, core.NM(self.n, self.m), total, self.dense, self.finetune)


@st.composite
def _frames(draw: st.DrawFn) -> Frames:
    m = draw(st.integers(2, 32))
    numbers = [draw(st.integers(low, high)) for low, high in ((1, m), (0, 9), (8, 60), (0, 9))]
    return Frames(draw(st.sampled_from(["stepwise", "geometric", "densify"])), numbers[0], m, *numbers[1:])


def _wrong_densities(case: Frames, densities: list[float]) -> int:
    """Count the steps at which the density moves the wrong way, or an end that is not the target."""
    signs = {"stepwise": lambda d: d < 0, "geometric": lambda d: d == 0, "densify": lambda d: d > 0}
    moves = [b - a for a, b in pairwise(densities)]
    return sum(not signs[case.kind](move) for move in moves) + (not math.isclose(densities[-1], case.n / case.m))


def _covered(case: Frames) -> Measurement:
    """Count faults of a sequence.

    They are: an epoch before the frames that is not dense; a frame that is missing, repeated or out of order; a frame
    of another length than its share; a density that moves the wrong way; an end that is not the target.
    """
    decay = case.decay
    patterns = [decay.pattern_at(epoch) for epoch in range(decay.total + 2)]
    inside = patterns[case.dense : case.dense + case.span]
    lengths = [inside.count(frame) for frame in decay.frames]
    faults = sum(pattern.n != pattern.m for pattern in patterns[: case.dense])
    faults += inside != [frame for frame, length in zip(decay.frames, lengths, strict=True) for _ in range(length)]
    faults += max(lengths) - min(lengths) > 1
    faults += sum((p.n, p.m) != (case.n, case.m) for p in patterns[case.dense + case.span :])
    return Measurement(float(faults + _wrong_densities(case, [p.n / p.m for p in decay.frames])), 0.0, scale=1.0)


def _halved(case: Frames) -> Measurement:
    """Halve m - 1 of m as the published code does, whose frames are one more than the whole part of log2(m / n)."""
    if case.kind != "stepwise":
        return Measurement(0.0, 0.0, scale=1.0)
    kept = [case.m - 1, *(case.m >> i for i in range(1, int(math.log2(case.m / case.n)) + 1))]
    return Measurement(float(_wrong_densities(case, [count / case.m for count in kept])), 0.0, scale=1.0)


pattern_frames = Claim(
    name="sparse_training.pattern_frames",
    summary="Sequences of patterns take every frame once, in nearly equal lengths, and end at the target.",
    statement=r"n_1{:}m_1, \dots, n_F{:}m_F = n{:}m, \quad \text{frame } i \text{ from } d + \lfloor i T / F \rfloor"
    r" \text{ on}, \quad n_i / m_i \text{ falls, stays or rises}",
    source=Source(
        "Bambhaniya et al., Progressive Gradient Flow, 2024", "structure decay, frames repaired", "2402.04744"
    ),
    verdict=Always(rtol=0.0),
    instances=_frames,
    evaluate=_covered,
    near_miss=_halved,
)


@dataclass(frozen=True, eq=False)
class ThreeMasks:
    """Scores from which three masks are chosen, and the pattern."""

    scores: Float64Array
    pattern: tuple[int, int]

    def masks(self) -> list[dict[str, Any]]:
        """Return the masks, each of two layers."""
        n, m = self.pattern
        return [
            {"a": core.NM(n, m).mask(tensor(one[:1])), "b": core.NM(n, m).mask(tensor(one[1:]))} for one in self.scores
        ]


@st.composite
def _three_masks(draw: st.DrawFn) -> ThreeMasks:
    n, m = draw(st.sampled_from(_PATTERNS))
    rng = np.random.default_rng(draw(seeds))
    scores = np.repeat(rng.random((1, 3, m * draw(st.integers(1, 4)))), 3, axis=0)
    # Few entries change, or all do; reversed scores change as much as they can.
    scores[1] = np.where(rng.random(scores[1].shape) < 0.3, rng.random(scores[1].shape), scores[1])
    scores[2] = -scores[0] if draw(st.booleans()) else rng.random(scores[2].shape)
    return ThreeMasks(scores, (n, m))


def _divergence(case: ThreeMasks, factor: float) -> Measurement:
    first, second, third = case.masks()
    n, m = case.pattern
    sizes = case.scores[0].size
    d12, d23, d13 = weights.sad(first, second), weights.sad(second, third), weights.sad(first, third)
    faults = abs(d12 - weights.sad(second, first)) + weights.sad(first, first) + max(0.0, d13 - d12 - d23)
    by_hand = sum(int((first[name] ^ second[name]).sum()) for name in first)
    faults += abs(d12 - by_hand) + d12 % 2
    return Measurement(d13 + faults * sizes, factor * min(n, m - n) / m * sizes, scale=1.0)


def _metric(case: ThreeMasks) -> Measurement:
    """Compare the divergence of two N:M masks with its bound; any breach of the laws of a metric counts as one, too.

    It is the Hamming distance. In a group of m, at most min(n, m - n) entries can leave, and as many come.
    """
    return _divergence(case, 2.0)


def _one_count_a_swap(case: ThreeMasks) -> Measurement:
    """Count an entry that moves once."""
    return _divergence(case, 1.0)


sad_metric = Claim(
    name="sparse_training.sad_metric",
    summary="The divergence of masks is a metric with even values, and bounded for N:M masks.",
    statement=r"\text{SAD}(E, E') = \|E - E'\|_1 \le \tfrac{2}{m} \min(n, m - n)\, D, \quad"
    r" \text{SAD}(E, E'') \le \text{SAD}(E, E') + \text{SAD}(E', E'')",
    source=Source("Zhou et al., Learning N:M Fine-grained Structured Sparse Networks, 2021", "SAD", "2102.04010"),
    verdict=Always(rtol=1e-12),
    instances=_three_masks,
    evaluate=_metric,
    near_miss=_one_count_a_swap,
)
