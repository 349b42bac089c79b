"""Claims about the proximal operator of the Euclidean norm, for every column of a matrix, at all scales."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_YUAN = "Yuan and Lin (2006)"
# Norms and quotients of a dozen entries.
_ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class Columns:
    """Two matrices whose columns are groups, a threshold, and a power of two in whose unit both are given."""

    W: Float64Array
    other: Float64Array
    threshold: float
    exponent: int

    @property
    def unit(self) -> float:
        """The unit."""
        return 2.0**self.exponent

    def prox(self, W: Float64Array, threshold: float | None = None) -> Float64Array:
        """Return the operator, computed in the unit and taken out of it, which loses nothing."""
        chosen = self.threshold if threshold is None else threshold
        found = representation.group_soft_threshold(tensor(W * self.unit), chosen * self.unit)
        return np.asarray(array(found)) / self.unit


def _draw(seed: int, rows: int, kind: str, threshold: float, exponent: int) -> Columns:
    rng = np.random.default_rng(seed)
    W, other = rng.standard_normal((2, rows, 4))
    if kind == "integers":
        W, other = np.round(2 * W), np.round(2 * other)
    elif kind == "sparse":
        W, other = W * (rng.random(W.shape) < 0.4), other * (rng.random(W.shape) < 0.4)
    elif kind == "near":
        other = W + 0.1 * other
    return Columns(W, other, threshold, exponent)


def _columns(exponents: tuple[int, ...] = (0, -600, 600)) -> st.SearchStrategy[Columns]:
    kinds = st.sampled_from(("gaussian", "integers", "sparse", "near"))
    thresholds = st.sampled_from((0.0, 0.3, 1.0, 5.0))
    return st.builds(_draw, seeds, st.integers(1, 6), kinds, thresholds, st.sampled_from(exponents))


def _objective(case: Columns, V: Float64Array) -> float:
    return float(np.square(V - case.W).sum() / 2 + case.threshold * np.linalg.norm(V, axis=0).sum())


def _minimiser(case: Columns, V: Float64Array) -> Measurement:
    """Compare the objective at V with that at other points: near V, shrunk and stretched, zero, and far away."""
    rng = np.random.default_rng(0)
    others = [V + size * rng.standard_normal(V.shape) for size in (1e-3, 1e-1, 1.0) for _ in range(3)]
    others += [0.999 * V, 1.001 * V, 0 * V, case.W, case.other]
    least = min(_objective(case, other) for other in others)
    return Measurement(_objective(case, V), least, scale=_objective(case, case.W) + float(np.square(case.W).sum()) + 1)


def _entrywise(case: Columns) -> Measurement:
    """Shrink every entry by itself."""
    return _minimiser(case, np.sign(case.W) * np.maximum(np.abs(case.W) - case.threshold, 0))


group_prox_minimises = Claim(
    name="sparse_representation.group_prox_minimises",
    summary="Shrinking the columns of a matrix minimises squared distance plus norms; nothing else does better.",
    statement=r"w \max(0, 1 - t / \|w\|) = \arg\min_v \tfrac{1}{2} \|v - w\|^2 + t \|v\|_2",
    source=Source.classic(_YUAN, "groupwise soft thresholding"),
    verdict=Always(_ROUNDING),
    instances=_columns,
    evaluate=lambda case: _minimiser(case, case.prox(case.W)),
    near_miss=_entrywise,
)


def _zeros(case: Columns, *, squares: bool) -> Measurement:
    """Count columns that are zero though their norm exceeds the threshold, or the other way round.

    Squared norms are compared exactly, as fractions, with a margin of some roundings in which both may happen.
    """
    threshold = case.threshold
    wrong, found = 0, case.prox(case.W)
    for column, shrunk in zip(case.W.T, found.T, strict=True):
        norm2 = sum((Fraction(float(entry)) ** 2 for entry in column), Fraction(0))
        limit = Fraction(threshold) if squares else Fraction(threshold) ** 2
        close = abs(norm2 - limit) <= Fraction(1, 10**14) * limit and norm2 != limit
        exact = norm2 <= limit
        wrong += bool(not close and exact != bool((shrunk == 0).all()))
    return Measurement(float(wrong), 0.0, scale=1.0)


group_prox_zero = Claim(
    name="sparse_representation.group_prox_zero",
    summary="A group becomes zero if and only if its norm is at most the threshold, also where squares overflow.",
    statement=r"\operatorname{prox}_t(w) = 0 \iff \|w\|_2 \le t",
    source=Source.classic(_YUAN, "groupwise soft thresholding"),
    verdict=Always(0.0),
    instances=_columns,
    evaluate=lambda case: _zeros(case, squares=False),
    near_miss=lambda case: _zeros(case, squares=True),
)


def _firm(case: Columns, *, hard: bool) -> Measurement:
    """Compare the squared distance of two images with the inner product of the distances."""
    if hard:
        # Groups are dropped or kept as they are.
        images = [W * (np.linalg.norm(W, axis=0) > case.threshold) for W in (case.W, case.other)]
    else:
        images = [case.prox(case.W), case.prox(case.other)]
    image, origin = images[0] - images[1], case.W - case.other
    scale = float(np.square(case.W).sum() + np.square(case.other).sum()) or 1.0
    return Measurement(float(np.square(image).sum()), float((image * origin).sum()), scale=scale)


group_prox_firm = Claim(
    name="sparse_representation.group_prox_firm",
    summary="The operator is firmly non-expansive, as every proximal operator of a convex function.",
    statement=r"\|P v - P w\|^2 \le \langle P v - P w, v - w \rangle",
    source=Source.classic("Moreau (1965)", "proximity operators"),
    verdict=Always(_ROUNDING),
    instances=_columns,
    evaluate=lambda case: _firm(case, hard=False),
    near_miss=lambda case: _firm(case, hard=True),
)


def _same_in_units(case: Columns, found: Float64Array) -> Measurement:
    """Compare with the result in the unit 1, bit by bit."""
    plain = np.asarray(array(representation.group_soft_threshold(tensor(case.W), case.threshold)))
    return Measurement(float(np.abs(np.nan_to_num(found, nan=np.inf) - plain).max()), 0.0, scale=1.0)


def _plain_squares(case: Columns) -> Measurement:
    """Take the root of the sum of squares, as it is written."""
    W, threshold = case.W * case.unit, case.threshold * case.unit
    with np.errstate(all="ignore"):
        norms = np.sqrt(np.square(W).sum(0))
        factor = np.maximum(1 - threshold / norms, 0)
        return _same_in_units(case, W * np.where(norms > 0, factor, 0) / case.unit)


group_prox_units = Claim(
    name="sparse_representation.group_prox_units",
    summary="Scaling weights and threshold by a power of two scales the result exactly, from 1e-300 to 1e300.",
    statement=r"\operatorname{prox}_{2^k t}(2^k w) = 2^k \operatorname{prox}_t(w), \quad |k| \le 1000",
    source=Source.ours("norms after a division by a power of two"),
    verdict=Always(0.0),
    instances=lambda: _columns((-1000, -500, -1, 1, 500, 1000)),
    evaluate=lambda case: _same_in_units(case, case.prox(case.W)),
    near_miss=_plain_squares,
)
