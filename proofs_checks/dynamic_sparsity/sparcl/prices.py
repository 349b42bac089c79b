"""Claim about what a weight is worth: the signed price of second order is exact on a quadratic, at any point."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
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

    def score(self, importance: dynamic.ContinualImportance) -> float:
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
