"""The one rule by which entries of a score are chosen: the largest are kept, exact counts, lowest index wins ties.

Nothing here compares with a threshold alone, because entries that tie at the cut would make the count wrong, and
nothing trusts the order in which ``torch.topk`` returns entries that tie. Scores may be infinite; not-a-number is for
callers to refuse, see :func:`check_scores`.
"""

import numpy as np
import torch
from torch import Tensor

__all__ = ["check_scores", "keep_in_groups", "keep_largest", "kept_count"]

# Groups up to this size are ranked by counting, m (m - 1) / 2 passes over one m-th of the data; larger ones by topk.
_COUNTED = 16


def check_scores(score: Tensor, name: str = "score") -> Tensor:
    """Return a score tensor whose entries can be ordered.

    Raises
    ------
    TypeError
        If it is not a tensor of real floating-point numbers.
    ValueError
        If an entry is not a number.
    """
    if not isinstance(score, Tensor) or not score.is_floating_point():
        got = score.dtype if isinstance(score, Tensor) else type(score).__name__
        raise TypeError(f"{name} must be a tensor of real floating-point numbers; got {got}")
    # Of numbers and one infinity the sum is never NaN, and it is found much faster.
    if bool(score.detach().sum().isnan()) and bool(torch.isnan(score).any()):
        raise ValueError(f"{name} must not hold NaN; got {int(torch.isnan(score).sum())} of {score.numel()} entries")
    return score.detach()


def kept_count(density: float, size: int) -> int:
    """Return how many of `size` entries stay: all but ``round((1 - density) size)``, halves to even as Python rounds.

    The same count as that of ``torch.nn.utils.prune`` for the amount ``1 - density``.

    Examples
    --------
    >>> kept_count(0.1, 1000), kept_count(0.5, 5)
    (100, 3)
    """
    return size - round((1.0 - density) * size)


def keep_largest(score: Tensor, count: int | Tensor) -> Tensor:
    """Keep the largest entries of every row.

    The cut of a row is its count-th largest entry. All above it stay, and of those equal to it the first ones, as many
    as are missing. O(columns) per row, without a sort.

    Parameters
    ----------
    score : Tensor of shape (..., columns)
        Without NaN.
    count : int, or Tensor of integers of shape (...)
        Entries to keep in each row, from 0 to `columns`.

    Returns
    -------
    Tensor of bool, of the shape of `score`

    Examples
    --------
    >>> import torch
    >>> keep_largest(torch.tensor([[1.0, 3.0, 3.0, 3.0]]), 2)
    tensor([[False,  True,  True, False]])
    """
    columns = score.shape[-1]
    if isinstance(count, Tensor):
        counts = count.to(score.device, torch.int64).unsqueeze(-1)
        highest = int(counts.max()) if counts.numel() else 0
    else:
        counts, highest = torch.tensor([count], device=score.device), count
    if highest == 0 or score.numel() == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    if not isinstance(count, Tensor) and count == columns:
        return torch.ones_like(score, dtype=torch.bool)
    if isinstance(count, Tensor):
        largest = torch.topk(score, highest, dim=-1).values
        cut = largest.gather(-1, (counts - 1).clamp(min=0))
    else:
        cut = _kth_smallest(score, columns - highest + 1)
    above, equal = score > cut, score == cut
    missing = counts - above.sum(-1, keepdim=True)
    if bool((equal.sum(-1, keepdim=True) > missing).any()):
        equal &= equal.cumsum(-1) <= missing
    return above | equal


def _kth_smallest(score: Tensor, k: int) -> Tensor:
    """Return the k-th smallest entry of every row, counted from 1, in an axis of length 1."""
    if score.device.type == "cpu" and score.dtype in (torch.float32, torch.float64):
        # Numpy selects with vector instructions, several times as fast as torch on the CPU.
        try:
            values = score.detach().numpy()
        except RuntimeError:
            # Within transformations of torch.func, and for lazy views, there is no memory that numpy could read.
            pass
        else:
            return torch.from_numpy(np.partition(values, k - 1, axis=-1)[..., k - 1 : k].copy())
    return score.kthvalue(k, dim=-1, keepdim=True).values


def keep_in_groups(score: Tensor, n: int, m: int) -> Tensor:
    """Keep the n largest of every m consecutive entries of the last axis.

    The rank of entry j of a group is the number of larger entries, and of equal ones before it; n entries have a rank
    below n. One comparison ranks both entries of a pair: an entry that is at least as large as a later one is in front
    of it, else behind. So an entry j is behind all later entries, ``m - 1 - j`` of them, but those it is not smaller
    than. Groups lie across the first axis of the copy that is ranked, so that a comparison of all entries with those d
    places later is one pass over contiguous memory.

    Parameters
    ----------
    score : Tensor of shape (..., groups * m)
        Without NaN.
    n, m : int
        ``0 <= n <= m``.

    Returns
    -------
    Tensor of bool, of the shape of `score`

    Examples
    --------
    >>> import torch
    >>> keep_in_groups(torch.tensor([1.0, 3.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0]), 2, 4)
    tensor([False,  True, False,  True,  True,  True, False, False])
    """
    groups = score.reshape(-1, m)
    if n == m:
        return torch.ones_like(score, dtype=torch.bool)
    if m > _COUNTED:
        return keep_largest(groups, n).reshape(score.shape)
    lying = groups.T.contiguous()
    balance = torch.zeros(lying.shape, dtype=torch.int8, device=score.device)
    for d in range(1, m):
        # Seen as integers: sums of booleans would be converted entry by entry.
        in_front = (lying[:-d] >= lying[d:]).view(torch.int8)
        balance[d:] += in_front
        balance[:-d] -= in_front
    later = torch.arange(m - 1, -1, -1, dtype=torch.int8, device=score.device)
    return (balance < (n - later).unsqueeze(1)).T.reshape(score.shape)
