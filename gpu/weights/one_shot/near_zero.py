"""How many weights are almost zero, and when in training they become so."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.gpu.core.selection import check_scores
from sparsetheory.gpu.weights.one_shot.magnitude_masks import MAPPING

__all__ = ["NearZeroJump", "near_zero_fraction", "near_zero_jump"]

_THRESHOLDS = (1e-5, 1e-4, 1e-3)


def near_zero_fraction(params: Mapping[str, Tensor], thresholds: Sequence[float] = _THRESHOLDS) -> Tensor:
    """Count the weights whose magnitude is below a share of the spread of their own tensor.

    Parameters
    ----------
    params : mapping of str to Tensor
        Weights under their names; real floating-point numbers.
    thresholds : sequence of float
        Each times the standard deviation of a tensor is a bound for its entries. The paper does not say which bound it
        takes, so that several are reported.

    Returns
    -------
    Tensor of float64 of shape (n_thresholds,)
        Share of all entries that lie below, on the CPU. An entry that is exactly zero always counts.

    Raises
    ------
    ValueError
        If there are no entries, or a threshold is negative.

    References
    ----------
    Jaiswal, Liu, Chen, Wang, NeurIPS 2023, arXiv:2306.03805, on "abrupt sparsification".

    Examples
    --------
    >>> import torch
    >>> near_zero_fraction({"w": torch.tensor([1.0, -1.0, 1e-4, 0.0])}, [1e-5, 1e-3])
    tensor([0.2500, 0.5000], dtype=torch.float64)
    """
    MAPPING.check("params", params)
    for one in thresholds:
        NONNEGATIVE.check("thresholds", one)
    total, below = 0, torch.zeros(len(thresholds), dtype=torch.float64)
    for name, weight in params.items():
        size = check_scores(weight, name).abs()
        total += size.numel()
        spread = float(weight.detach().double().std(correction=0)) if size.numel() else 0.0
        counts = [int(((size < one * spread) | (size == 0)).count_nonzero()) for one in thresholds]
        below += torch.tensor(counts, dtype=torch.float64)
    if not total:
        raise ValueError("params must hold at least one entry; got none")
    return below / total


@dataclass(frozen=True, eq=False)
class NearZeroJump:
    """Shares of weights that are almost zero, along training.

    Parameters
    ----------
    fractions : Tensor of float64 of shape (n_checkpoints, n_thresholds)
        What :func:`near_zero_fraction` returns for each checkpoint.
    jumps : Tensor of float64 of shape (n_thresholds,)
        Largest rise from one checkpoint to the next; negative where shares only fall.
    steps : Tensor of int64 of shape (n_thresholds,)
        Checkpoint behind that rise, counted from 0.
    """

    fractions: Tensor
    jumps: Tensor
    steps: Tensor


def near_zero_jump(
    checkpoints: Iterable[Mapping[str, Tensor]], thresholds: Sequence[float] = _THRESHOLDS
) -> NearZeroJump:
    """Find the largest sudden rise of the share of weights that are almost zero.

    Parameters
    ----------
    checkpoints : iterable of mapping of str to Tensor
        Weights along training, at least two; one is held at a time.
    thresholds : sequence of float
        As :func:`near_zero_fraction` takes them.

    Returns
    -------
    NearZeroJump

    Raises
    ------
    ValueError
        If there are fewer than two checkpoints.

    Examples
    --------
    >>> import torch
    >>> weights = [torch.tensor([1.0, -1.0, x]) for x in (0.5, 0.4, 0.0)]
    >>> found = near_zero_jump([{"w": weight} for weight in weights], [1e-3])
    >>> round(float(found.jumps), 4), int(found.steps)
    (0.3333, 2)
    """
    rows = [near_zero_fraction(params, thresholds) for params in checkpoints]
    if len(rows) < 2:
        raise ValueError(f"checkpoints must be at least 2; got {len(rows)}")
    fractions = torch.stack(rows)
    jumps, steps = fractions.diff(dim=0).max(dim=0)
    return NearZeroJump(fractions, jumps, steps + 1)
