"""Claims about foreground tokens: how many are computed, which ones they are by boxes, and the loss to learn them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array, Int64Array

_PAPER = "Zheng et al., Focus-DETR (ICCV 2023)"
_CASCADE = (1.0, 0.8, 0.6, 0.6, 0.4, 0.2)


@dataclass(frozen=True)
class Budget:
    """Scores of the tokens of an image, with ties, which tokens are valid, and a share in hundredths."""

    scores: Sequence[float]
    valid: Sequence[bool]
    hundredths: int

    @property
    def n_valid(self) -> int:
        """Valid tokens."""
        return sum(self.valid)

    @property
    def order(self) -> list[int]:
        """Valid tokens by falling score, the first of equal ones first."""
        ranked = sorted(range(len(self.scores)), key=lambda i: -self.scores[i])
        return [i for i in ranked if self.valid[i]]


@st.composite
def _budgets(draw: Any) -> Budget:
    n = draw(st.integers(1, 150))
    few = st.integers(-2, 2).map(float)
    valid = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    valid[draw(st.integers(0, n - 1))] = True
    return Budget(draw(st.lists(few, min_size=n, max_size=n)), valid, draw(st.integers(0, 100)))


def _cascade(budget: Budget, counts: Int64Array) -> Measurement:
    """Compare counts with whole-number arithmetic, and the sets of all layers with prefixes of one stable sort.

    In hundredths and tenths, ``floor(rho N)`` is ``hundredths * N // 100`` and ``floor(c M)`` is ``tenths * M // 10``.
    """
    foreground = min(budget.hundredths * budget.n_valid // 100 + 1, budget.n_valid)
    wanted = [max(round(10 * part) * foreground // 10, 1) for part in _CASCADE]
    off = [abs(int(found) - want) for found, want in zip(counts, wanted, strict=True)]
    scores, valid = tensor(np.array([budget.scores])), tensor(np.array([budget.valid]))
    for want in wanted:
        chosen = array(attention.top_tokens(scores, want, valid=valid).index[0]).tolist()
        off.append(int(chosen != budget.order[:want]))
    return Measurement.worst(off, 0.0, scale=1.0)


def _counted(budget: Budget) -> Measurement:
    """Take the counts of the package."""
    return _cascade(budget, array(attention.cascade_budgets(budget.n_valid, budget.hundredths / 100, _CASCADE)))


def _rounded(budget: Budget) -> Measurement:
    """Round products to the nearest whole number."""
    n = budget.n_valid
    foreground = min(round(budget.hundredths / 100 * n) + 1, n)
    return _cascade(budget, np.array([max(round(part * foreground), 1) for part in _CASCADE]))


foreground_budgets = Claim(
    name="sparse_attention.foreground_budgets",
    summary="Layers compute exactly the stated numbers of tokens, and their sets are prefixes of one stable sort.",
    statement=r"M = \min(\lfloor \rho N \rfloor + 1, N), \quad k_t = \max(\lfloor c_t M \rfloor, 1), \quad "
    r"T_t = \{\pi(1), \dots, \pi(k_t)\}",
    source=Source(_PAPER, "cascade of foreground tokens", "2307.12612", "authors' code"),
    verdict=Always(0.0),
    instances=_budgets,
    evaluate=_counted,
    near_miss=_rounded,
)


@dataclass(frozen=True)
class Boxes:
    """Boxes on a picture with two levels of tokens, in whole pixels."""

    boxes: Sequence[tuple[int, int, int, int]]
    shapes: tuple[tuple[int, int], tuple[int, int]]
    ranges: tuple[tuple[float, float], tuple[float, float]]


_STRIDES = (4, 8)


def _boxes() -> st.SearchStrategy[Boxes]:
    side = st.integers(-3, 30)
    shape = st.tuples(st.integers(1, 6), st.integers(1, 6))
    ranges = st.sampled_from([((-1.0, 8.0), (6.0, math.inf)), ((-1.0, 4.0), (4.0, 12.0))])
    return st.builds(Boxes, st.lists(st.tuples(side, side, side, side), max_size=4), st.tuples(shape, shape), ranges)


def _hit(point: tuple[float, float], box: Sequence[int], ends: tuple[float, float]) -> bool:
    (x, y), (left, top, right, bottom), (low, high) = point, box, ends
    distances = (x - left, y - top, right - x, bottom - y)
    return min(distances) > 0 and low < max(distances) <= high


def _by_words(case: Boxes, *, swapped: bool = False) -> BoolArray:
    found = []
    for (rows, columns), stride, ends in zip(case.shapes, _STRIDES, case.ranges, strict=True):
        for row in range(rows):
            for column in range(columns):
                x, y = column * stride + stride / 2, row * stride + stride / 2
                point = (y, x) if swapped else (x, y)
                found.append(any(_hit(point, box, ends) for box in case.boxes))
    return np.array(found)


def _targets(case: Boxes, wanted: BoolArray) -> Measurement:
    boxes = tensor(np.array(case.boxes, dtype=np.float32).reshape(-1, 4))
    found = array(attention.foreground_targets(boxes, case.shapes, _STRIDES, case.ranges))
    return Measurement(float(np.sum(found != wanted)), 0.0, scale=1.0)


def _one_by_one(case: Boxes) -> Measurement:
    """Compare the targets with those of every token and box one by one."""
    return _targets(case, _by_words(case))


def _axes_swapped(case: Boxes) -> Measurement:
    """Take rows for columns, as another indexing of a mesh grid does."""
    return _targets(case, _by_words(case, swapped=True))


foreground_boxes = Claim(
    name="sparse_attention.foreground_boxes",
    summary="A token is foreground if its point is inside a box whose farthest side is in the range of its level.",
    statement=r"y_{l,i} = 1 \iff \exists B: \min(\ell, t, r, b) > 0, \ a_l < \max(\ell, t, r, b) \le b_l",
    source=Source(_PAPER, "supervision of foreground scores", "2307.12612", "authors' code"),
    verdict=Always(0.0),
    instances=_boxes,
    evaluate=_one_by_one,
    near_miss=_axes_swapped,
)


@dataclass(frozen=True, eq=False)
class Logits:
    """Logits and targets of a few images, and the numbers of the loss."""

    logits: Float64Array
    targets: BoolArray
    alpha: float
    gamma: float

    def losses(self, alpha: float, gamma: float) -> Float64Array:
        """Return the loss of every token by its formula, from probabilities."""
        z = np.where(self.targets, self.logits, -self.logits)
        p, other = 1.0 / (1.0 + np.exp(-z)), 1.0 / (1.0 + np.exp(z))
        return -np.where(self.targets, alpha, 1.0 - alpha) * other**gamma * np.log(p)


@st.composite
def _logits(draw: Any) -> Logits:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = draw(st.sampled_from([0.1, 3.0, 20.0])) * rng.standard_normal((3, draw(st.integers(1, 8))))
    targets = rng.random(logits.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    return Logits(logits, targets, draw(st.sampled_from([0.0, 0.25, 1.0])), draw(st.sampled_from([0.0, 0.5, 2.0])))


def _loss(case: Logits, positives: Any) -> Measurement:
    """Compare the loss with its formula, and at a power of 0 and equal weights with half the cross-entropy."""
    logits, targets = tensor(case.logits), tensor(case.targets)
    found = array(attention.focal_loss(logits, targets, case.alpha, case.gamma))
    off = [np.abs(found - case.losses(case.alpha, case.gamma).sum(1) / positives)]
    entropy = np.logaddexp(0.0, np.where(case.targets, -case.logits, case.logits)).sum(1)
    off.append(np.abs(array(attention.focal_loss(logits, targets, 0.5, 0.0)) - entropy / (2 * positives)))
    return Measurement.worst(np.concatenate(off), 0.0, scale=1.0 + float(np.abs(case.logits).sum()))


def _per_image(case: Logits) -> Measurement:
    """Divide by the positives of each image, at least one."""
    return _loss(case, np.maximum(case.targets.sum(1), 1))


def _per_batch(case: Logits) -> Measurement:
    """Divide by the mean number of positives of the batch."""
    return _loss(case, max(case.targets.sum() / len(case.targets), 1))


focal_loss = Claim(
    name="sparse_attention.focal_loss",
    summary="The focal loss is summed and divided by the positives of the image; it extends half the cross-entropy.",
    statement=r"L = \frac{1}{\max(n_+, 1)} \sum_i -w_i (1 - p_i)^\gamma \log p_i, \quad L_{\gamma = 0, \alpha = 1/2} = "
    r"\frac{1}{2 \max(n_+, 1)} \sum_i \mathrm{BCE}_i",
    source=Source("Lin et al., Focal loss for dense object detection (ICCV 2017)", "equation 5", "1708.02002"),
    verdict=Always(1e-10),  # a probability next to 1, 4e-9 of it at logits of 20, is known to 1e-16
    instances=_logits,
    evaluate=_per_image,
    near_miss=_per_batch,
)
