"""Claims about the energy that blocks of rows retain: nested blocks, and exchanges of rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, kernels
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Shares of an energy: sums of at most 256 squares in double precision.
_ROUNDING = 1e-12
_KINDS = ("gaussian", "wide", "integers", "groups", "equal")
_SIZES = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a weight, blocks of them, and the number of positions of the largest blocks that are kept.

    Parameters
    ----------
    weight : ndarray of shape (rows, columns)
    size : int
    density : float
    """

    weight: Float64Array
    size: int
    density: float

    def retained(self, order: Any = None, size: int | None = None) -> float:
        """Return the share of the energy that the best positions of blocks hold, with the rows in some order."""
        size = self.size if size is None else size
        energy = self.weight[np.arange(len(self.weight)) if order is None else array(order)] ** 2
        sums = np.sort(energy.reshape(-1, size, energy.shape[1]).sum(1).ravel())
        kept = sums.size - round((1.0 - self.density) * sums.size)
        return float(sums[sums.size - kept :].sum() / energy.sum()) if energy.any() else 1.0

    def order(self, method: str) -> Any:
        """Return the order of the package."""
        return kernels.rearrange(tensor(self.weight), self.size, method, self.density)


def _weight(rng: np.random.Generator, kind: str, rows: int, columns: int) -> Float64Array:
    weight = rng.standard_normal((rows, columns))
    if kind == "wide":
        return weight * np.exp(2.0 * rng.standard_normal((rows, 1)))
    if kind == "integers":
        return rng.integers(-2, 3, weight.shape).astype(float)
    if kind == "equal":
        return rng.choice([-1.5, 1.5], weight.shape)
    if kind == "groups":
        large = np.repeat(rng.random((rows // 2, columns)) < 0.4, 2, 0)
        return rng.permutation(weight * np.where(large, 1.0, 0.05))
    return weight


def _rows() -> st.SearchStrategy[Rows]:
    return st.builds(
        lambda seed, kind, size, blocks, columns, density: Rows(
            _weight(np.random.default_rng(seed), kind, size * blocks, columns), size, density
        ),
        st.integers(0, 2**32 - 1),
        st.sampled_from(_KINDS),
        st.sampled_from((2, 4)),
        st.integers(1, 5),
        st.integers(1, 9),
        st.floats(0.0, 1.0),
    )


def _swapped(rows: Rows) -> Measurement:
    """Compare what exchanges of rows retain with the orders that they may start from.

    An exchange is taken only if the energy retained, measured anew with the cut that the new sums have, has risen. The
    start is greedy grouping or the given order, whichever retains more, so both are lower bounds.
    """
    start = max(rows.retained(), rows.retained(rows.order("greedy")))
    return Measurement(start, rows.retained(rows.order("swaps")), scale=1.0)


def _greedy_never_loses(rows: Rows) -> Measurement:
    """Expect the same of greedy grouping: it looks at overlaps of large entries, not at what is retained."""
    return Measurement(rows.retained(), rows.retained(rows.order("greedy")), scale=1.0)


swaps_keep_energy = Claim(
    name="sparse_kernels.swaps_keep_energy",
    summary="Exchanges of rows never retain less energy than the order given, nor than greedy grouping.",
    statement=r"E_b(\pi_{\text{swaps}} W) \ge \max\{E_b(W),\ E_b(\pi_{\text{greedy}} W)\}",
    source=Source.ours("exchanges of rows between blocks, taken if the energy of the largest sums rises"),
    verdict=Always(_ROUNDING),
    instances=_rows,
    evaluate=_swapped,
    near_miss=_greedy_never_loses,
)


@dataclass(frozen=True, eq=False)
class Nested:
    """A weight of eight or sixteen rows, and the positions kept of blocks of one, two, four and eight rows.

    Parameters
    ----------
    weight : ndarray of shape (rows, columns)
    kept : tuple of int
        Positions of blocks of each size; entries kept do not grow with the size.
    """

    weight: Float64Array
    kept: tuple[int, ...]

    def retained(self, power: int = 2) -> list[float]:
        """Return the share of the energy that masks of the package retain, with sums of some powers as scores."""
        shares = []
        for size, kept in zip(_SIZES, self.kept, strict=True):
            pattern = core.RowBlock(size, kept * size / self.weight.size)
            mask = pattern.mask(tensor(np.abs(self.weight) ** power))
            shares.append(kernels.retained_energy(tensor(self.weight), mask))
        return shares


@st.composite
def _nested(draw: st.DrawFn) -> Nested:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = _weight(rng, draw(st.sampled_from(_KINDS)), draw(st.sampled_from((8, 16))), draw(st.integers(1, 6)))
    if not weight.any():
        weight[0, 0] = 1.0
    kept = [draw(st.integers(0, weight.size // 8))]
    for size in (4, 2, 1):
        kept.append(min(2 * kept[-1] + draw(st.integers(0, 1)), weight.size // size))
    return Nested(weight, tuple(kept[::-1]))


def _ordered(nested: Nested) -> Measurement:
    """Compare what blocks retain with what blocks of half their size do.

    A mask in blocks of b rows is one in blocks of b/2 rows as well. If these may keep as many entries, their best mask
    retains at least as much, for the largest sums of squares retain the most energy of all masks of their count.
    """
    one, two, four, eight = nested.retained()
    return Measurement.chain(eight, four, {"blocks of two": two, "single weights": one}, scale=1.0)


def _ordered_by_magnitude(nested: Nested) -> Measurement:
    """Choose blocks by sums of magnitudes: optimal for these sums, not for the energy."""
    one, two, four, eight = nested.retained(power=1)
    return Measurement.chain(eight, four, {"blocks of two": two, "single weights": one}, scale=1.0)


nested_blocks = Claim(
    name="sparse_kernels.nested_blocks",
    summary="With squares as scores, larger nested blocks of rows retain no more energy at no more weights.",
    statement=r"b \mid b',\ b' k_{b'} \le b k_b \;\Rightarrow\; E_{b'}(k_{b'}) \le E_b(k_b)",
    source=Source.ours("a mask in larger blocks is one in smaller blocks; optimality of the largest sums"),
    verdict=Always(_ROUNDING),
    instances=_nested,
    evaluate=_ordered,
    near_miss=_ordered_by_magnitude,
)
