"""Claim about the price of a column in a block of rows with a common support, all coefficients fitted anew."""

import numpy as np

from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import ROUNDING, Layer, layers
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array, IndexArray


def _kept(layer: Layer) -> IndexArray:
    return np.flatnonzero(layer.random_mask()[0])


def _joint(layer: Layer, kept: IndexArray) -> float:
    """Return the least objective of all rows on a common support."""
    return sum(layer.refitted(row, kept) for row in range(len(layer.weight)))


def _rises(layer: Layer, kept: IndexArray) -> Float64Array:
    """Return by how much the joint objective rises without each kept column, from fits of their own."""
    before = _joint(layer, kept)
    return np.array([_joint(layer, kept[kept != j]) - before for j in kept])


def _prices(layer: Layer, kept: IndexArray) -> Float64Array:
    """Return the price of each kept column in each row."""
    mask = np.zeros(layer.p, dtype=bool)
    mask[kept] = True
    gram = layer.tensors[1]
    return np.array([array(weights.move_prices(tensor(w), gram, tensor(mask)).drop)[kept] for w in layer.weight])


def _compared(layer: Layer, found: Float64Array, kept: IndexArray) -> Measurement:
    return Measurement(float(np.abs(found - _rises(layer, kept)).max(initial=0.0)), 0.0, scale=layer.scale)


def _summed(layer: Layer) -> Measurement:
    """Compare sums of prices over the rows with the rise of the joint objective in a fresh fit.

    Rows of a block share their support S, so also ``P = (H_SS)^{-1}``, and the joint objective
    ``sum_r (w_r - s_r)' H (w_r - s_r)`` is a sum over rows, each fitted by itself. The price of column j is therefore
    the sum of ``s_rj^2 / P_jj``: the squared norm of the column of coefficients over one entry of the inverse.
    """
    kept = _kept(layer)
    return _compared(layer, _prices(layer, kept).sum(0), kept)


def _of_summed_coefficients(layer: Layer) -> Measurement:
    """Sum the coefficients before squaring them."""
    kept = _kept(layer)
    return _compared(layer, np.square(np.sqrt(_prices(layer, kept)).sum(0)), kept)


block_drop_price = Claim(
    name="sparse_kernels.block_drop_price",
    summary="Dropping a column for a block of rows costs its squared coefficients over one entry of the inverse.",
    statement=r"f(S \setminus j) - f(S) = \frac{\sum_{r} s_{rj}^2}{[(H_{SS})^{-1}]_{jj}}",
    source=Source.ours("optimal brain surgeon for rows that share a support, a multi-response regression"),
    verdict=Always(ROUNDING),
    instances=lambda: layers(rows=2),
    evaluate=_summed,
    near_miss=_of_summed_coefficients,
)
