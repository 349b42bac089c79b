"""Claims about the prices of moves: what a drop costs, what an entry or a swap gains, with all others fitted anew."""

from typing import Any

import numpy as np

from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import ROUNDING, Layer, layers
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


class Fit:
    """The least-squares fit of the first row of a layer on a random mask, and its moves."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.mask = layer, layer.random_mask()[0]
        self.kept, self.others = np.flatnonzero(self.mask), np.flatnonzero(~self.mask)
        self.coefficients = layer.fit(0, self.kept)
        self.objective = layer.objective(0, self.coefficients)

    def prices(self) -> Any:
        """Return the prices of the package."""
        return weights.move_prices(tensor(self.layer.weight[0]), self.layer.tensors[1], tensor(self.mask))

    def without(self, j: int) -> float:
        """Return the objective of the best fit without a kept column."""
        return self.layer.refitted(0, self.kept[self.kept != j])

    def entered(self, i: int) -> float:
        """Return the objective of the best fit with another column."""
        return self.layer.refitted(0, np.append(self.kept, i))

    def swapped(self, j: int, i: int) -> float:
        """Return the objective of the best fit with a column in the place of another."""
        return self.layer.refitted(0, np.append(self.kept[self.kept != j], i))

    def compare(self, prices: Float64Array, refits: list[float]) -> Measurement:
        """Return the largest difference of a price and what a fresh fit says, relative to the energy of the output."""
        off = np.abs(np.asarray(prices) - np.asarray(refits))
        return Measurement(float(off.max(initial=0.0)), 0.0, scale=float(self.layer.energies[0]))

    def rises(self) -> list[float]:
        """Return by how much each drop raises the objective."""
        return [self.without(j) - self.objective for j in self.kept.tolist()]

    def falls(self) -> list[float]:
        """Return by how much each entry lowers the objective."""
        return [self.objective - self.entered(i) for i in self.others.tolist()]

    def swap_falls(self) -> list[float]:
        """Return by how much each swap lowers the objective."""
        return [self.objective - self.swapped(j, i) for j in self.kept.tolist() for i in self.others.tolist()]


def _drop(layer: Layer) -> Measurement:
    """Compare the price of every drop with the rise of the objective in a fresh fit.

    With S the kept columns, s the fit and P the inverse of H_SS, the best change under ``s_j = 0`` is
    ``-(s_j / P_jj) P_:j``, by Lagrange, and it costs ``s_j^2 / P_jj``.
    """
    fit = Fit(layer)
    return fit.compare(array(fit.prices().drop)[fit.kept], fit.rises())


def _drop_of_one_alone(layer: Layer) -> Measurement:
    """Hold the other coefficients: the price is ``s_j^2 H_jj`` then."""
    fit = Fit(layer)
    return fit.compare((fit.coefficients**2 * np.diagonal(layer.gram))[fit.kept], fit.rises())


drop_price = Claim(
    name="layerwise_pruning.drop_price",
    summary="Dropping a weight costs its square over its entry of the inverse, with all others fitted anew.",
    statement=r"f(S \setminus j) - f(S) = \frac{s_j^2}{[(H_{SS})^{-1}]_{jj}}",
    source=Source.classic("Hassibi and Stork (1993)", "optimal brain surgeon"),
    verdict=Always(ROUNDING),
    instances=layers,
    evaluate=_drop,
    near_miss=_drop_of_one_alone,
)


def _add(layer: Layer) -> Measurement:
    """Compare the gain of every entry with the fall of the objective in a fresh fit.

    The part of column i that the kept columns do not explain has the squared length ``H_ii - H_iS P H_Si``, the Schur
    complement, and the inner product a with the residual. Projecting on it gains ``a^2`` over that length.
    """
    fit = Fit(layer)
    gains = np.maximum(array(fit.prices().add)[fit.others], 0.0)
    return fit.compare(gains, fit.falls())


def _add_without_projection(layer: Layer) -> Measurement:
    """Divide by the whole of the column: the gain of matching pursuit."""
    fit = Fit(layer)
    residual = layer.gram @ (layer.weight[0] - fit.coefficients)
    diagonal = np.maximum(np.diagonal(layer.gram), 1e-300)
    return fit.compare((residual**2 / diagonal)[fit.others], fit.falls())


add_price = Claim(
    name="layerwise_pruning.add_price",
    summary="A new weight gains the square of its residual correlation over what the others leave of its column.",
    statement=r"f(S) - f(S \cup i) = \frac{(H (w - s))_i^2}{H_{ii} - H_{iS} (H_{SS})^{-1} H_{Si}}",
    source=Source.classic("Efroymson (1960)", "stepwise regression"),
    verdict=Always(ROUNDING),
    instances=layers,
    evaluate=_add,
    near_miss=_add_without_projection,
)


def _swap(layer: Layer) -> Measurement:
    """Compare the price of every swap with the fall of the objective in a fresh fit.

    Without j the objective is higher by ``s_j^2 / P_jj``. The residual correlation of i is then ``a + c s_j / P_jj``
    with ``c = (H_iS P)_j``, and its Schur complement ``A + c^2 / P_jj``, both by a rank-one change of the inverse. So
    the entry of i gains the square of the one over the other.
    """
    fit = Fit(layer)
    prices = array(fit.prices().swap)[np.ix_(fit.kept, fit.others)].ravel()
    # A column that the kept ones determine is no swap; with damping that is a dead one, whose entry gains nothing.
    costs = np.repeat(array(fit.prices().drop)[fit.kept], fit.others.size)
    return fit.compare(np.where(np.isfinite(prices), prices, -costs), fit.swap_falls())


def _swap_as_a_sum(layer: Layer) -> Measurement:
    """Add up the gain of the entry and the cost of the drop."""
    fit = Fit(layer)
    prices = fit.prices()
    drop, add = array(prices.drop)[fit.kept], np.maximum(array(prices.add)[fit.others], 0.0)
    return fit.compare((add[None, :] - drop[:, None]).ravel(), fit.swap_falls())


swap_price = Claim(
    name="layerwise_pruning.swap_price",
    summary="What a swap of two weights gains, with all others fitted anew, follows from four numbers.",
    statement=r"f(S) - f(S \setminus j \cup i) = \frac{(a_i + c_{ij} s_j / P_{jj})^2}{A_i + c_{ij}^2 / P_{jj}}"
    r" - \frac{s_j^2}{P_{jj}}, \quad c_{ij} = (H_{iS} P)_j",
    source=Source.ours("price of a swap with refit in one formula, from a matrix swept with the kept columns"),
    verdict=Always(ROUNDING),
    instances=layers,
    evaluate=_swap,
    near_miss=_swap_as_a_sum,
)
