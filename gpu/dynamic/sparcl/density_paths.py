"""The densities of a sparse continual learner in a task: first it expands, then it exchanges, then it stands still."""

from typing import NamedTuple

from sparsetheory.constraints import NONNEGATIVE, SIZE, Real

__all__ = ["DensityBounds", "density_path"]

_DENSITY = Real(0.0, 1.0, closed="right")


class DensityBounds(NamedTuple):
    """What is left of a mask in an exchange, and what it has afterwards.

    Parameters
    ----------
    pruned : float
        Density after dropping.
    grown : float
        Density after growing.
    """

    pruned: float
    grown: float


def density_path(
    epoch: int, base: float, inter: float = 0.01, intra: float = 0.01, settle: int = 5, freeze: int = 45
) -> DensityBounds:
    """Return between which densities the masks are exchanged in an epoch of a task.

    =====================  ===========  ============
    epoch                  after drop   after growth
    =====================  ===========  ============
    below `settle`         base         base + inter
    then below `freeze`    base - intra base
    from `freeze` on       base         base
    =====================  ===========  ============

    So a new task begins with room to grow, weights compete in its middle, and at its end the mask stands still.

    Parameters
    ----------
    epoch : int
        Of the task, counted from 0.
    base : float
        Density at the end of every task, above 0 and at most 1.
    inter : float
        By how much the density rises at the beginning of a task.
    intra : float
        Share of all weights that is exchanged in the middle of a task.
    settle : int
        First epoch of the middle.
    freeze : int
        First epoch without exchanges.

    Returns
    -------
    DensityBounds
        A pair as the `density` of :class:`TopologyController` may be.

    Raises
    ------
    ValueError
        If a density of the path is not above 0 and at most 1, or `freeze` is before `settle`.

    References
    ----------
    Wang et al., "SparCL: Sparse Continual Learning on the Edge", NeurIPS 2022, arXiv 2209.09476.

    Examples
    --------
    >>> [density_path(epoch, 0.25) for epoch in (0, 5, 45)]  # doctest: +NORMALIZE_WHITESPACE
    [DensityBounds(pruned=0.25, grown=0.26), DensityBounds(pruned=0.24, grown=0.25),
     DensityBounds(pruned=0.25, grown=0.25)]
    """
    SIZE.require(epoch=epoch, settle=settle, freeze=freeze)
    _DENSITY.check("base", base)
    NONNEGATIVE.require(inter=inter, intra=intra)
    if base + inter > 1:
        raise ValueError(f"base + inter must be at most 1; got {base} + {inter}")
    if intra >= base:
        raise ValueError(f"intra must be below base, {base}; got {intra}")
    if freeze < settle:
        raise ValueError(f"freeze must be at least settle, {settle}; got {freeze}")
    if epoch >= freeze:
        return DensityBounds(base, base)
    return DensityBounds(base, base + inter) if epoch < settle else DensityBounds(base - intra, base)
