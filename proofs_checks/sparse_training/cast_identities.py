"""Exact identities around CAST: scales fold into masked weights, and the loss with a teacher."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_PAPER = "Huang, Hu, Zhu, Chen, CAST (2025)"


@dataclass(frozen=True, eq=False)
class Scaled:
    """A weight with scales, to be pruned at 2:4.

    Parameters
    ----------
    weight : ndarray of shape (rows, columns)
    scales : ndarray of shape (rows, groups)
    """

    weight: Float64Array
    scales: Float64Array

    def each(self) -> Float64Array:
        """Return the scale of each entry, written out."""
        width = self.weight.shape[1] // self.scales.shape[1]
        return np.array([[row[column // width] for column in range(self.weight.shape[1])] for row in self.scales])

    def mask(self, values: Float64Array) -> BoolArray:
        """Return which two of every four are the largest, the first of those that tie."""
        groups = np.abs(values).reshape(-1, 4)
        ranks = np.argsort(np.argsort(-groups, axis=1, kind="stable"), axis=1)
        return (ranks < 2).reshape(values.shape)

    def finalized(self) -> Float64Array:
        """Return the weight of a layer that is scaled, optimised by AdamS for no step, and finalized."""
        import torch

        from sparsetheory.gpu import weights

        rows, columns = self.weight.shape
        layer = torch.nn.Linear(columns, rows, bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(tensor(self.weight))
        weights.scale_weights(layer, self.scales.shape[1])
        with torch.no_grad():
            layer.get_parameter("parametrizations.weight.0.scales").copy_(tensor(self.scales))
        optimizer = weights.AdamS(weights.adam_s_groups(layer), 0.1, total_steps=1, alpha=0.0, pattern="2:4")
        weights.finalize(layer, optimizer.masks)
        return array(layer.weight)


@st.composite
def _scaled(draw: Any) -> Scaled:
    rows, columns, groups = draw(st.integers(1, 3)), draw(st.sampled_from((4, 8, 12))), draw(st.sampled_from((1, 2, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = rng.integers(-2, 3, size=(rows, columns)) if draw(st.booleans()) else rng.normal(size=(rows, columns))
    return Scaled(weight.astype(float), np.exp(rng.normal(size=(rows, groups))))


def _folds(scaled: Scaled) -> Measurement:
    """Compare a finalized layer with the scaled weight, masked, and with the masked weight, scaled; bit by bit.

    A product with zero is zero on either way, and where the mask is True both are the same product. The zeros of all
    groups are counted, too.
    """
    found, each, mask = scaled.finalized(), scaled.each(), scaled.mask(scaled.weight)
    apart = max(
        np.abs(found - (each * scaled.weight) * mask).max(), np.abs(found - each * (scaled.weight * mask)).max()
    )
    most = int((found.reshape(-1, 4) != 0).sum(1).max())
    return Measurement(float(apart), 0.0, scale=1.0).and_chain({"nonzeros of a group": most, "n": 2.0})


def _mask_of_the_scaled(scaled: Scaled) -> Measurement:
    """Choose the mask among the scaled entries; the scales of two blocks that share a group differ."""
    whole = scaled.each() * scaled.weight
    return Measurement(float(np.abs(scaled.finalized() - whole * scaled.mask(whole)).max()), 0.0, scale=1.0)


cast_folding = Claim(
    name="sparse_training.cast_folding",
    summary="Scales and masks act in either order, and a finalized layer has both, at exactly N:M.",
    statement=r"(A \odot W) \odot m = A \odot (W \odot m)",
    source=Source(_PAPER, "weight scaling", "2509.25996"),
    verdict=Always(0.0),
    instances=_scaled,
    evaluate=_folds,
    near_miss=_mask_of_the_scaled,
)


@dataclass(frozen=True, eq=False)
class Lesson:
    """Logits of student and teacher, labels, and the part of the teacher."""

    student: Float64Array
    teacher: Float64Array
    labels: Any
    eta: float

    def loss(self) -> float:
        """Return the loss of the package."""
        from sparsetheory.gpu import weights

        return float(weights.distill_loss(tensor(self.student), tensor(self.teacher), tensor(self.labels), self.eta))


@st.composite
def _lessons(draw: Any) -> Lesson:
    samples, classes = draw(st.integers(1, 4)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from((0.1, 1.0, 10.0)))
    student, teacher = spread * rng.normal(size=(2, samples, classes))
    return Lesson(student, teacher, rng.integers(classes, size=samples), draw(st.sampled_from((0.0, 0.25, 1 / 3, 0.9))))


def _probabilities(logits: Float64Array) -> Float64Array:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    found: Float64Array = powers / powers.sum(1, keepdims=True)
    return found


def _against(lesson: Lesson, *, forward: bool) -> Measurement:
    """Compare the loss over ``1 - eta`` with cross-entropy plus ``eta / (1 - eta)`` times a divergence."""
    q, p = _probabilities(lesson.student), _probabilities(lesson.teacher)
    first, second = (p, q) if forward else (q, p)
    divergence = float((first * np.log(first / second)).sum(1).mean())
    entropy = float(-np.log(q[np.arange(len(q)), lesson.labels]).mean())
    expected = entropy + lesson.eta / (1 - lesson.eta) * divergence
    return Measurement(abs(lesson.loss() / (1 - lesson.eta) - expected), 0.0, scale=1.0 + expected)


def _teacher_first(lesson: Lesson) -> Measurement:
    """Take the divergence from the teacher to the student."""
    return _against(lesson, forward=True)


def _student_first(lesson: Lesson) -> Measurement:
    """Take it from the student to the teacher."""
    return _against(lesson, forward=False)


distillation = Claim(
    name="sparse_training.distillation",
    summary="The convex combination is the cross-entropy with a penalty on the divergence from the teacher.",
    statement=r"\frac{\eta\, \mathrm{KL}(p \| q) + (1 - \eta)\, \mathrm{CE}(q)}{1 - \eta}"
    r" = \mathrm{CE}(q) + \frac{\eta}{1 - \eta} \mathrm{KL}(p \| q)",
    source=Source(_PAPER, "distillation", "2509.25996"),
    verdict=Always(1e-10),
    instances=_lessons,
    evaluate=_teacher_first,
    near_miss=_student_first,
)
