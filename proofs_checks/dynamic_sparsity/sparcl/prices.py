"""Claims about what a weight is worth: the signed price of second order is exact on a quadratic, and has no units."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A quadratic function, a point that is not its minimum, and an entry to remove."""

    gram: Float64Array
    target: Float64Array
    weight: Float64Array
    entry: int

    def value(self, w: Float64Array) -> float:
        """Return ``w'Gw / 2 - b'w``."""
        return float(w @ self.gram @ w / 2 - self.target @ w)

    @property
    def cost(self) -> float:
        """By how much the function rises when the entry becomes 0 and nothing else changes."""
        without = self.weight.copy()
        without[self.entry] = 0.0
        return self.value(without) - self.value(self.weight)

    @property
    def scale(self) -> float:
        """Sum of the sizes of all terms, which rounding is relative to."""
        w = np.abs(self.weight)
        return float(w @ np.abs(self.gram) @ w + np.abs(self.target) @ w)

    def score(self, importance: Any) -> float:
        """Return the score of the entry."""
        gradient = self.gram @ self.weight - self.target
        return float(importance.score(tensor(self.weight), tensor(gradient))[self.entry])


@st.composite
def _quadratics(draw: st.DrawFn) -> Quadratic:
    rng, size = np.random.default_rng(draw(seeds)), draw(st.integers(1, 6))
    rows = rng.standard_normal((draw(st.integers(1, 8)), size)) * np.exp(rng.standard_normal(size))
    return Quadratic(rows.T @ rows, rng.standard_normal(size), rng.standard_normal(size), int(rng.integers(size)))


def _price(case: Quadratic) -> Measurement:
    """Compare the price of one weight with the cost of its removal.

    A quadratic is its own Taylor polynomial of order two: with the step -w_i along one axis it changes by
    ``-w_i g_i + w_i**2 G_ii / 2``, at any point and with nothing solved for again. The sign of the first term is that
    of the step.
    """
    importance = dynamic.ContinualImportance(importance="price", curvatures=[tensor(np.diagonal(case.gram))])
    return Measurement(abs(case.score(importance) - case.cost), 0.0, case.scale)


def _first_order(case: Quadratic) -> Measurement:
    """Take the size of the first term for the cost, as a saliency of first order does."""
    return Measurement(abs(case.score(dynamic.ContinualImportance(importance="taylor")) - case.cost), 0.0, case.scale)


importance_price = Claim(
    name="dynamic_sparsity.importance_price",
    summary="On a quadratic the signed price of second order is what removing a weight costs, at any point.",
    statement=r"f(w - w_i e_i) - f(w) = -w_i g_i + w_i^2 G_{ii}/2 \text{ for } f(w) = w'Gw/2 - b'w",
    source=Source.ours("Taylor's formula, which ends at order two"),
    verdict=Always(rtol=1e-13),
    instances=_quadratics,
    evaluate=_price,
    near_miss=_first_order,
)


@dataclass(frozen=True, eq=False)
class Units:
    """A weight, its gradient and curvatures, and powers of two by which the units of its inputs change."""

    weight: Float64Array
    gradient: Float64Array
    curvature: Float64Array
    powers: Float64Array

    def order(self, importance: str, *, changed: bool) -> Float64Array:
        """Return the scores of all entries, in the old units of the inputs or in the new ones."""
        unit = self.powers if changed else np.ones_like(self.powers)
        curvatures = [tensor(self.curvature * unit**2)] if importance == "price" else None
        score = dynamic.ContinualImportance(importance=importance, curvatures=curvatures).score
        return np.asarray(array(score(tensor(self.weight / unit), tensor(self.gradient * unit))))

    def moved(self, importance: str) -> int:
        """Return how many entries have another score after the change of units."""
        return int((self.order(importance, changed=True) != self.order(importance, changed=False)).sum())


@st.composite
def _units(draw: st.DrawFn) -> Units:
    rng, shape = np.random.default_rng(draw(seeds)), (draw(st.integers(1, 4)), draw(st.integers(1, 5)))
    weight, gradient, curvature = (rng.standard_normal(shape) for _ in range(3))
    return Units(weight, gradient, curvature**2, np.exp2(rng.integers(-8, 9, shape[1]).astype(float)))


def _unmoved(case: Units) -> Measurement:
    """Count prices and first-order changes that are other numbers in other units.

    With inputs c times as large the same function has weights w / c, gradients c g and curvatures c^2 h. The products
    w g and w^2 h do not change; for powers of two not even by a rounding.
    """
    return Measurement(float(case.moved("price") + case.moved("taylor")), 0.0, 1.0)


def _sum_of_units(case: Units) -> Measurement:
    """Expect it of the sum of a magnitude and a gradient."""
    return Measurement(float(case.moved("sparcl")), 0.0, 1.0)


importance_units = Claim(
    name="dynamic_sparsity.importance_units",
    summary="Prices and first-order changes of weights do not depend on the units of the inputs; a sum of magnitude "
    "and gradient does.",
    statement=r"w \mapsto w/c,\ g \mapsto c g,\ h \mapsto c^2 h: \quad -w g + w^2 h/2 \text{ and } |w g| \text{ stay}",
    source=Source.ours("chain rule"),
    verdict=Always(rtol=0.0),
    instances=_units,
    evaluate=_unmoved,
    near_miss=_sum_of_units,
)
