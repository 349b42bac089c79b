"""What the loop of Kronecker sparse Bayesian learning starts from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsetheory.bayesian.sbl.updates.loop import FactorUpdate, InnerLoop, plain_update
from sparsetheory.bayesian.sbl.updates.pattern_coupling import CoupledMM, CoupledNNLS
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["FactorStart", "coupled_start", "plain_start"]


@dataclass(frozen=True, eq=False)
class FactorStart:
    """An update, and the factors it starts from.

    Attributes
    ----------
    update : FactorUpdate
    factors : list of ndarray
        Positive.
    columns : list of ndarray of int
        Columns that they belong to.
    """

    update: FactorUpdate
    factors: list[Float64Array]
    columns: list[IndexArray]

    @property
    def empty(self) -> bool:
        """Whether some mode has no column that could explain anything."""
        return any(indices.size == 0 for indices in self.columns)


def plain_start(name: str, inner: InnerLoop, start: Sequence[Float64Array], usable: Sequence[BoolArray]) -> FactorStart:
    """Start an update without coupling.

    Parameters
    ----------
    name : str
        Of the update.
    inner : InnerLoop
        When sweeps stop.
    start : sequence of ndarray of shape (N_i,)
        Factors, not negative.
    usable : sequence of ndarray of bool, shape (N_i,)
        Columns that are not zero.

    Returns
    -------
    FactorStart
    """
    masks = [(factor > 0) & mask for factor, mask in zip(start, usable, strict=True)]
    factors = [factor[mask] for factor, mask in zip(start, masks, strict=True)]
    return FactorStart(plain_update(name, inner), factors, [np.flatnonzero(mask) for mask in masks])


def coupled_start(
    step: str,
    inner: InnerLoop,
    start: Sequence[Float64Array],
    usable: Sequence[BoolArray],
    couplings: Sequence[Float64Array | None],
) -> FactorStart:
    """Start an update of coupled factors.

    Parameters
    ----------
    step : {"mm", "nnls"}
        Kind of update.
    inner, start, usable
        As in :func:`plain_start`; `start` holds latent factors.
    couplings : sequence of (None or ndarray of shape (N_k, N_k))
        What makes factors of latent ones.

    Returns
    -------
    FactorStart
    """
    pairs = list(zip(start, couplings, strict=True))
    factors = [factor if C is None else C @ factor for factor, C in pairs]
    masks = [(factor > 0) & mask for factor, mask in zip(factors, usable, strict=True)]
    update: CoupledMM | CoupledNNLS
    if step == "mm":
        # A latent entry of zero stays zero.
        modes = [(factor, C, mask) for (factor, C), mask in zip(pairs, masks, strict=True)]
        update = CoupledMM(
            [None if C is None else C[mask][:, factor > 0] for factor, C, mask in modes],
            [factor[mask if C is None else factor > 0] for factor, C, mask in modes],
        )
    else:
        update = CoupledNNLS([None if C is None else C[m][:, m] for C, m in zip(couplings, masks, strict=True)], inner)
    kept = [factor[mask] for factor, mask in zip(factors, masks, strict=True)]
    return FactorStart(update, kept, [np.flatnonzero(mask) for mask in masks])
