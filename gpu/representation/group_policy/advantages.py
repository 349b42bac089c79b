"""Advantages of answers within groups, with the bonus of the chance that one of k answers is right."""

import math
import warnings

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG

__all__ = ["group_advantage", "leave_one_out_advantage", "mixed_groups", "pass_bonus"]

# What the authors add to every standard deviation.
_EPS = 1e-6


def group_advantage(
    rewards: Tensor, groups: Tensor, hits: Tensor | None = None, n_pass: int = 4, bonus: bool = True
) -> Tensor:
    r"""Return the reward of each answer in units of its group's spread, plus a bonus for rare hits.

    .. math:: A_i = \frac{r_i - \bar r}{s + 10^{-6}} + b_i

    with mean and sample standard deviation s of the group, and the bonus of :func:`pass_bonus`. Without it these are
    the advantages of GRPO.

    Parameters
    ----------
    rewards : Tensor of float of shape (n,)
        One for each answer.
    groups : Tensor of int of shape (n,)
        The question that each answer belongs to, by any number.
    hits : Tensor of bool of shape (n,), optional
        Which answers are right. By default those with a reward of exactly 1; give it where rewards are computed, and
        may miss 1 by rounding, or are scaled.
    n_pass : int
        The number k of answers of which one has to be right, at most the size of every group.
    bonus : bool
        Whether the bonus is added.

    Returns
    -------
    Tensor of shape (n,)
        In the precision of the rewards, computed in float64. All zero in a group whose rewards are all equal and whose
        bonus is 0, as it is without a hit; the sum over a group is 0.

    Raises
    ------
    ValueError
        If a shape, dtype or device does not fit, rewards are not finite, or a group is smaller than `n_pass` where
        there is a bonus.

    Warns
    -----
    UserWarning
        Where a group has one answer. Its advantage is 0, as there is nothing to compare with. The authors' code takes
        the reward itself there.

    References
    ----------
    GRPO: Z. Shao et al., "DeepSeekMath", arXiv:2402.03300. With the bonus (SRPO): "Generative Reasoning Recommendation
    via LLMs", Hong et al., arXiv:2510.20815, and the authors' code.

    Examples
    --------
    One hit among ten answers gains more by the bonus than by its reward alone:

    >>> import torch
    >>> rewards, groups = torch.eye(10)[0], torch.zeros(10, dtype=torch.long)
    >>> [round(float(group_advantage(rewards, groups, bonus=b)[0]), 2) for b in (False, True)]
    [2.85, 4.07]
    """
    FLAG.require(bonus=bonus)
    places, sizes = _checked("rewards", rewards, groups)
    right = rewards == 1 if hits is None else hits
    _check("hits", right, groups)
    centred = _centred(rewards.double(), places, sizes)
    if bool((sizes == 1).any()):
        warnings.warn("a group has one answer: its advantage is 0", UserWarning, stacklevel=2)
    variance = _sums(centred.square(), places, sizes) / (sizes - 1).clamp_min(1)
    advantages = centred / (variance.sqrt() + _EPS)[places]
    if bonus:
        advantages += pass_bonus(right, groups, n_pass).to(advantages)
    return advantages.to(rewards.dtype)


def pass_bonus(hits: Tensor, groups: Tensor, n_pass: int = 4) -> Tensor:
    r"""Return the mean advantage of the subsets of k answers that contain an answer, if one hit makes a subset right.

    A group of n answers has c hits. A random subset of k has one with probability :math:`\rho = 1 - \binom{n-c}{k} /
    \binom{n}{k}`, and :math:`\sigma^2 = \rho (1 - \rho)`. Hits get :math:`(1 - \rho) / (\sigma + 10^{-6})`, and all
    others :math:`(1 - \rho - \binom{n-c-1}{k-1} / \binom{n-1}{k-1}) / (\sigma + 10^{-6})`. The sum over a group is 0.
    The bonus is 0 without a hit, and with so many that every subset has one.

    Parameters
    ----------
    hits : Tensor of bool of shape (n,)
        Which answers are right.
    groups : Tensor of int of shape (n,)
        The question that each answer belongs to.
    n_pass : int
        The number k, at most the size of every group.

    Returns
    -------
    Tensor of float64 of shape (n,)

    Raises
    ------
    ValueError
        If a shape does not fit, or a group is smaller than `n_pass`.

    Examples
    --------
    >>> import torch
    >>> bonus = pass_bonus(torch.arange(10) < 2, torch.zeros(10, dtype=torch.long))
    >>> round(float(bonus[0]), 3), round(float(bonus[-1]), 3)
    (0.707, -0.177)
    """
    k = COUNT.check("n_pass", n_pass)
    places, sizes = _checked("hits", hits, groups)
    if len(sizes) and int(sizes.min()) < k:
        raise ValueError(f"n_pass must be at most the size of every group; got {k}, and a group of {int(sizes.min())}")
    counts = _sums(hits.double(), places, sizes)
    values = [_bonuses(int(n), int(c), k) for n, c in zip(sizes.tolist(), counts.tolist(), strict=True)]
    table = torch.tensor(values, dtype=torch.float64, device=hits.device).reshape(-1, 2)
    return table[places, hits.long()]


def _bonuses(n: int, c: int, k: int) -> tuple[float, float]:
    """Return the bonus of answers that are not right, and of hits."""
    # Binomials are exact integers. Those of -1 are 0, as in the authors' code; none is needed where all are hits.
    none = math.comb(n - c, k) / math.comb(n, k)
    others = math.comb(n - c - 1, k - 1) / math.comb(n - 1, k - 1) if c < n else 0.0
    spread = math.sqrt((1 - none) * none) + _EPS
    return (none - others) / spread, none / spread


def leave_one_out_advantage(rewards: Tensor, groups: Tensor) -> Tensor:
    """Return the reward of each answer less the mean reward of the others in its group (RLOO).

    Parameters
    ----------
    rewards : Tensor of float of shape (n,)
    groups : Tensor of int of shape (n,)

    Returns
    -------
    Tensor of shape (n,)
        In the precision of the rewards; 0 in a group of one answer.

    References
    ----------
    A. Ahmadian et al., "Back to Basics: Revisiting REINFORCE Style Optimization", ACL 2024, arXiv:2402.14740.

    Examples
    --------
    >>> import torch
    >>> leave_one_out_advantage(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([5, 5, 5])).tolist()
    [1.0, -0.5, -0.5]
    """
    places, sizes = _checked("rewards", rewards, groups)
    factor = sizes / (sizes - 1).clamp_min(1)
    return (_centred(rewards.double(), places, sizes) * factor[places]).to(rewards.dtype)


def mixed_groups(matches: Tensor, groups: Tensor) -> Tensor:
    """Return which answers belong to groups whose scores are not all equal; all others teach nothing.

    Where a whole group matches or fails, the authors draw answers to another question in place of it (the filter of
    DAPO).

    Parameters
    ----------
    matches : Tensor of float, int or bool, of shape (n,)
        Score that must differ within a group.
    groups : Tensor of int of shape (n,)

    Returns
    -------
    Tensor of bool of shape (n,)

    References
    ----------
    DAPO: Q. Yu et al., arXiv:2503.14476.

    Examples
    --------
    >>> import torch
    >>> mixed_groups(torch.tensor([1, 0, 1, 1]), torch.tensor([0, 0, 1, 1])).tolist()
    [True, True, False, False]
    """
    places, sizes = _checked("matches", matches, groups)
    return _spread(matches.double(), places, sizes)[places]


def _checked(name: str, values: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return the place of each answer's group among all, and the sizes of these."""
    _check(name, values, groups)
    _, places, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    return places, sizes


def _check(name: str, values: Tensor, groups: Tensor) -> None:
    for label, value in ((name, values), ("groups", groups)):
        if not isinstance(value, Tensor) or value.is_complex():
            got = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{label} must be a tensor of real numbers; got {got}")
    if values.ndim != 1 or groups.shape != values.shape:
        raise ValueError(
            f"{name} and groups must have one entry for each answer; got {tuple(values.shape)}, {tuple(groups.shape)}"
        )
    if groups.is_floating_point():
        raise ValueError(f"groups must hold integers; got {groups.dtype}")
    if groups.device != values.device:
        raise ValueError(f"groups must be on the device of {name}, {values.device}; got {groups.device}")
    if name == "hits" and values.dtype != torch.bool:
        raise ValueError(f"hits must be True or False; got {values.dtype}")
    if name == "rewards" and not values.is_floating_point():
        raise ValueError(f"rewards must be floating-point numbers; got {values.dtype}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{name} must be finite; got infinite entries or NaN")


def _sums(values: Tensor, places: Tensor, sizes: Tensor) -> Tensor:
    return torch.zeros(len(sizes), dtype=values.dtype, device=values.device).index_add_(0, places, values)


def _spread(values: Tensor, places: Tensor, sizes: Tensor) -> Tensor:
    """Return which groups have different values."""
    ends = [
        values.new_zeros(len(sizes)).scatter_reduce_(0, places, values, how, include_self=False)
        for how in ("amin", "amax")
    ]
    return ends[0] < ends[1]


def _centred(rewards: Tensor, places: Tensor, sizes: Tensor) -> Tensor:
    """Return rewards less the mean of their group: exactly zero where all are equal, whatever the mean rounds to."""
    centred = rewards - (_sums(rewards, places, sizes) / sizes)[places]
    return torch.where(_spread(rewards, places, sizes)[places], centred, torch.zeros_like(centred))
