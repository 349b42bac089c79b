"""Which tokens of which level are foreground, by the boxes of objects, and the loss that teaches it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from sparsetheory.constraints import COUNT, NONNEGATIVE, Real

__all__ = ["focal_loss", "foreground_targets"]

_PUBLISHED = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, math.inf))


def foreground_targets(
    boxes: Tensor | Sequence[Tensor],
    shapes: Sequence[tuple[int, int]],
    strides: Sequence[int] = (8, 16, 32, 64),
    ranges: Sequence[tuple[float, float]] = _PUBLISHED,
) -> Tensor:
    """Return which tokens are foreground.

    A token stands for the point in the middle of its cell, ``(stride / 2 + column * stride, stride / 2 + row *
    stride)``. It is foreground if the point is strictly inside some box, and the largest of its distances to the four
    sides of that box is in the range of its level, above the lower end and at most the upper one [1]_.

    Parameters
    ----------
    boxes : Tensor of shape (n_boxes, 4), or a sequence of such, one for each image
        Left, top, right and bottom sides in pixels; there may be no box.
    shapes : sequence of (int, int)
        Rows and columns of each level, the finest one first.
    strides : sequence of int
        Pixels from one token of a level to the next.
    ranges : sequence of (float, float)
        Range of each level. Ranges may overlap; the published ones do not.

    Returns
    -------
    Tensor of bool of shape (n,) or (batch, n)
        Levels after each other, each row by row.

    Raises
    ------
    ValueError
        If the numbers of levels differ, a range is empty, or boxes do not have four sides.

    Notes
    -----
    O(tokens * boxes).

    References
    ----------
    .. [1] D. Zheng, W. Dong, H. Hu, X. Chen, Y. Wang, "Less is more: focus attention for efficient DETR", ICCV 2023,
       arXiv:2307.12612; the authors' code for torch.

    Examples
    --------
    >>> import torch
    >>> box = torch.tensor([[0.0, 0.0, 8.0, 4.0]])
    >>> foreground_targets(box, [(2, 3), (1, 2)], strides=(4, 8), ranges=((-1, 5), (5, 99))).tolist()
    [False, False, False, False, False, False, False, False]
    >>> foreground_targets(box, [(2, 3), (1, 2)], strides=(4, 8), ranges=((-1, 6), (6, 99))).tolist()
    [True, True, False, False, False, False, False, False]
    """
    if not isinstance(boxes, Tensor):
        return torch.stack([foreground_targets(one, shapes, strides, ranges) for one in boxes])
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must have shape (n_boxes, 4); got {tuple(boxes.shape)}")
    if not len(shapes) == len(strides) == len(ranges):
        raise ValueError(
            f"shapes, strides and ranges must name equally many levels; got {len(shapes)}, {len(strides)} and "
            f"{len(ranges)}"
        )
    levels = zip(shapes, strides, ranges, strict=True)
    return torch.cat([_level(boxes, shape, stride, ends) for shape, stride, ends in levels])


def _level(boxes: Tensor, shape: tuple[int, int], stride: int, ends: tuple[float, float]) -> Tensor:
    low, high = ends
    if not low < high:
        raise ValueError(f"ranges must have a lower end below the upper one; got {ends!r}")
    wide = torch.promote_types(boxes.dtype, torch.float32)
    rows, columns = (
        torch.arange(COUNT.check("shapes", size), device=boxes.device, dtype=wide) * COUNT.check("strides", stride)
        + stride / 2
        for size in shape
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    left, top, right, bottom = boxes.to(wide).T
    x, y = x.reshape(-1, 1), y.reshape(-1, 1)
    distances = torch.stack([x - left, y - top, right - x, bottom - y])
    inside, largest = distances.amin(0) > 0, distances.amax(0)
    return (inside & (largest > low) & (largest <= high)).any(1)


def focal_loss(
    logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0, *, valid: Tensor | None = None
) -> Tensor:
    """Return the focal loss of each image: summed over its tokens, over its number of positives, at least 1.

    With ``p`` the probability that a token has its own target, it adds up ``-w (1 - p)**gamma log p`` [1]_. Tokens
    that are easy weigh little. Everything is computed from logits, so neither large nor small ones lose digits.

    Parameters
    ----------
    logits : Tensor of shape (..., n)
    targets : Tensor of bool of shape (..., n)
        Which tokens are positive.
    alpha : float
        Weight of positives, from 0 to 1; negatives weigh ``1 - alpha``.
    gamma : float
        Power, at least 0; with 0 and `alpha` 0.5 the loss is half the binary cross-entropy.
    valid : Tensor of bool of shape (..., n), optional
        Tokens that count; by default all.

    Returns
    -------
    Tensor of shape (...)

    Raises
    ------
    TypeError
        If targets are not of bool.
    ValueError
        If shapes differ or a number is not allowed.

    References
    ----------
    .. [1] T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár, "Focal loss for dense object detection", ICCV 2017,
       arXiv:1708.02002.

    Examples
    --------
    >>> import torch
    >>> focal_loss(torch.zeros(1, 4), torch.tensor([[True, True, False, False]]))
    tensor([0.1733])
    """
    Real(0.0, 1.0).check("alpha", alpha)
    NONNEGATIVE.check("gamma", gamma)
    for name, flags in (("targets", targets), ("valid", valid)):
        if flags is not None and flags.dtype != torch.bool:
            raise TypeError(f"{name} must be a tensor of bool; got {flags.dtype}")
        if flags is not None and flags.shape != logits.shape:
            raise ValueError(f"{name} must have the shape of logits, {tuple(logits.shape)}; got {tuple(flags.shape)}")
    if valid is not None:
        targets, logits = targets & valid, torch.where(valid, logits, 0.0)
    # z is the logit of the own target: log p = -softplus(-z), and 1 - p is the logistic function of -z.
    z = torch.where(targets, logits, -logits)
    losses = torch.where(targets, alpha, 1.0 - alpha) * torch.exp(gamma * logsigmoid(-z)) * softplus(-z)
    if valid is not None:
        losses = torch.where(valid, losses, 0.0)
    return losses.sum(-1) / targets.sum(-1).clamp(min=1)
