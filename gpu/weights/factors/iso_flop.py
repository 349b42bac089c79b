"""Sizes of sparse layers that cost as many multiplications as a dense one.

Provenance: families and formulas follow the authors' code of Sparse-IFT; the exact counts are ours.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from sparsetheory.constraints import COUNT, FLAG, Choice, Real
from sparsetheory.gpu.core.random_topology import integer_budget

__all__ = ["SPARSITY", "IsoFlopSizes", "iso_flop_width"]

SPARSITY = Real(0.0, 1.0, closed="left")


@dataclass(frozen=True)
class IsoFlopSizes:
    """The weights of a sparse layer in the place of a dense one, and what they cost.

    Parameters
    ----------
    family : str
        How the layer is made.
    width : int
        Outputs of a wide layer, branches of a parallel one, inner width of a factorised one, rank of a doped one.
    shapes : dict of str to tuple of int
        Shapes of the weights, outputs first.
    n_nonzero : dict of str to int
        How many entries of each weight are kept.
    dense_multiplies : int
        Multiplications of the dense layer for each place of the output: one in all, or one for each pixel.
    """

    family: str
    width: int
    shapes: dict[str, tuple[int, ...]]
    n_nonzero: dict[str, int]
    dense_multiplies: int

    @property
    def multiplies(self) -> int:
        """Multiplications of the sparse layer for each place of the output."""
        return sum(self.n_nonzero.values())

    @property
    def ratio(self) -> float:
        """Multiplications relative to those of the dense layer."""
        return self.multiplies / self.dense_multiplies

    @property
    def densities(self) -> dict[str, float]:
        """Share of each weight that is kept; :func:`~sparsetheory.gpu.core.random_masks` gives exactly the counts."""
        return {name: self.n_nonzero[name] / math.prod(shape) for name, shape in self.shapes.items()}

    @property
    def n_maskable(self) -> int:
        """Entries of the weights that are not dense: among these a method chooses its mask."""
        sizes = {name: math.prod(shape) for name, shape in self.shapes.items()}
        return sum(size for name, size in sizes.items() if self.n_nonzero[name] < size)


def iso_flop_width(
    in_features: int,
    out_features: int,
    sparsity: float,
    family: str,
    *,
    kernel_size: int = 1,
    dense_outer: bool = False,
) -> IsoFlopSizes:
    r"""Return the sizes of a sparse layer with as many multiplications as a dense one.

    With q = 1 - s for a sparsity s, and D multiplications of the dense layer:

    - "wide": both sides are :math:`q^{-1/2}` times as wide, and D entries are kept;
    - "parallel": 1 / q branches of the same shape, rounded, which share D entries;
    - "factorized": two factors of density q with the least inner width whose cost reaches D;
    - "doped": a weight of density q, plus a dense product of the largest rank whose cost stays within s D.

    Parameters
    ----------
    in_features, out_features : int
        Of the dense layer; channels of a convolution.
    sparsity : float
        From 0 to below 1. It is taken as the nearest fraction with a denominator of at most 10^9, so that 0.9 leaves
        exactly a tenth.
    family : {"wide", "parallel", "factorized", "doped"}
    kernel_size : int
        Side of the square kernel of a convolution. The second factor is one of size 1.
    dense_outer : bool
        Whether the second factor of a factorised layer is dense.

    Returns
    -------
    IsoFlopSizes
        Wide and parallel layers cost exactly D. The other two differ from it by at most
        ``kernel_size**2 * in_features + out_features + 1``. A rank may be 0: the low rank has no room then.

    Warns
    -----
    UserWarning
        If 1 / q is not an integer for a parallel layer.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    V. Thangarasa, S. Saxena, A. Gupta, S. Lie, "Sparse-IFT: Sparse Iso-FLOP Transformations for Maximizing Training
    Efficiency", ICML 2024, arXiv 2303.11525.

    Examples
    --------
    >>> found = iso_flop_width(100, 100, 0.75, "factorized")
    >>> found.width, found.shapes, found.ratio
    (200, {'inner': (200, 100), 'outer': (100, 200)}, 1.0)
    """
    COUNT.require(in_features=in_features, out_features=out_features, kernel_size=kernel_size)
    Choice(*_FAMILIES).check("family", family)
    if FLAG.check("dense_outer", dense_outer) and family != "factorized":
        raise ValueError(f"dense_outer must be False for family {family!r}; got True")
    density = 1 - Fraction(SPARSITY.check("sparsity", sparsity)).limit_denominator(10**9)
    if not density:
        raise ValueError(f"sparsity must leave at least 1e-9 of all entries; got {sparsity!r}")
    if family == "factorized":
        return _factorized(in_features, out_features, density, kernel_size, dense_outer)
    return _FAMILIES[family](in_features, out_features, density, kernel_size)


def _wide(n_in: int, n_out: int, density: Fraction, kernel: int) -> IsoFlopSizes:
    factor = float(density) ** -0.5
    wide_in, wide_out = round(factor * n_in), round(factor * n_out)
    cost = n_in * n_out * kernel**2
    return IsoFlopSizes("wide", wide_out, {"weight": _shape(wide_out, wide_in, kernel)}, {"weight": cost}, cost)


def _parallel(n_in: int, n_out: int, density: Fraction, kernel: int) -> IsoFlopSizes:
    branches = round(1 / density)
    if branches * density != 1:
        warnings.warn(f"1 / (1 - sparsity) is {float(1 / density):.6g}; taken are {branches} branches", stacklevel=3)
    cost = n_in * n_out * kernel**2
    names = [f"branches.{index}" for index in range(branches)]
    kept = integer_budget(dict.fromkeys(names, cost), dict.fromkeys(names, 1 / branches), cost)
    return IsoFlopSizes("parallel", branches, dict.fromkeys(names, _shape(n_out, n_in, kernel)), kept, cost)


def _factorized(n_in: int, n_out: int, density: Fraction, kernel: int, dense_outer: bool = False) -> IsoFlopSizes:
    cost, taps = n_in * n_out * kernel**2, n_in * kernel**2
    outer_density = Fraction(1) if dense_outer else density
    width = math.ceil(cost / (density * taps + outer_density * n_out))
    shapes = {"inner": _shape(width, n_in, kernel), "outer": _pointwise(n_out, width, kernel)}
    kept = {"inner": round(density * width * taps), "outer": round(outer_density * width * n_out)}
    return IsoFlopSizes("factorized", width, shapes, kept, cost)


def _doped(n_in: int, n_out: int, density: Fraction, kernel: int) -> IsoFlopSizes:
    cost, taps = n_in * n_out * kernel**2, n_in * kernel**2
    rank = math.floor((1 - density) * cost / (taps + n_out))
    shapes, kept = {"sparse": _shape(n_out, n_in, kernel)}, {"sparse": round(density * cost)}
    if rank:
        shapes |= {"inner": _shape(rank, n_in, kernel), "outer": _pointwise(n_out, rank, kernel)}
        kept |= {"inner": rank * taps, "outer": rank * n_out}
    return IsoFlopSizes("doped", rank, shapes, kept, cost)


def _shape(n_out: int, n_in: int, kernel: int) -> tuple[int, ...]:
    return (n_out, n_in, kernel, kernel) if kernel > 1 else (n_out, n_in)


def _pointwise(n_out: int, n_in: int, kernel: int) -> tuple[int, ...]:
    """Return the shape of what follows a kernel: a convolution of size 1 after a convolution, else a matrix."""
    return (n_out, n_in, 1, 1) if kernel > 1 else (n_out, n_in)


_FAMILIES: dict[str, Callable[[int, int, Fraction, int], IsoFlopSizes]] = {
    "doped": _doped,
    "factorized": _factorized,
    "parallel": _parallel,
    "wide": _wide,
}
