"""Whether two updates change the same entries more often than chance would."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.gpu.core.masks import MaskSet

__all__ = ["Overlap", "overlap"]


@dataclass(frozen=True)
class Overlap:
    """How two sets of entries overlap.

    Parameters
    ----------
    o1, o2 : float
        Share of the first set that the second one holds, and the reverse; NaN for an empty set.
    chance1, chance2 : float
        What both are on average if the sets are drawn independently and uniformly: the shares of all entries that the
        second and the first set hold.
    pvalue : float
        Probability that two such sets of these sizes have at least as many entries in common.
    """

    o1: float
    o2: float
    chance1: float
    chance2: float
    pvalue: float


def overlap(m1: Tensor | Mapping[str, Tensor], m2: Tensor | Mapping[str, Tensor]) -> Overlap:
    """Compare the overlap of two sets of entries with that of random sets of the same sizes.

    Chance is a low bar for updates of one model: entries that are small, or read active units, change in any run. Also
    compare with the set of as many smallest weights.

    Parameters
    ----------
    m1, m2 : Tensor of bool, MaskSet or mapping of str to Tensor of bool
        True for the entries of the set, see :func:`update_mask`; of the same names and shapes.

    Returns
    -------
    Overlap

    Raises
    ------
    TypeError
        If a mask is no tensor or does not hold booleans.
    ValueError
        If names or shapes differ, or there are no entries.

    Notes
    -----
    The probability is the tail of the hypergeometric distribution. It holds for uniform sets; sets that agree in the
    sizes of tensors overlap by more.

    Examples
    --------
    >>> import torch
    >>> first = torch.tensor([True, True, False, False])
    >>> overlap(first, torch.tensor([True, True, True, False]))
    Overlap(o1=1.0, o2=0.6666666666666666, chance1=0.75, chance2=0.5, pvalue=0.5)
    """
    first, second = _masks("m1", m1), _masks("m2", m2)
    n, n1, n2 = first.size, first.n_nonzero, second.n_nonzero
    # An empty set shares nothing; the comparison still checks names and shapes.
    common = (first & second).n_nonzero
    if not n:
        raise ValueError("m1 and m2 must have at least one entry; got none")
    nan = float("nan")
    return Overlap(common / n1 if n1 else nan, common / n2 if n2 else nan, n2 / n, n1 / n, _tail(common, n, n1, n2))


def _masks(argument: str, masks: Tensor | Mapping[str, Tensor]) -> MaskSet:
    if isinstance(masks, MaskSet):
        return masks
    if not isinstance(masks, Tensor | Mapping):
        raise TypeError(
            f"{argument} must be a tensor of bool or a mapping of names to such; got {type(masks).__name__}"
        )
    return MaskSet({"": masks} if isinstance(masks, torch.Tensor) else masks)


def _tail(common: int, n: int, n1: int, n2: int) -> float:
    from scipy.stats import hypergeom

    return float(hypergeom.sf(common - 1, n, n1, n2))
