"""Advantages of answers within groups."""

from torch import Tensor

__all__ = ["group_advantage", "leave_one_out_advantage", "mixed_groups", "pass_bonus"]


def group_advantage(
    rewards: Tensor, groups: Tensor, hits: Tensor | None = None, n_pass: int = 4, bonus: bool = True
) -> Tensor:
    """Return advantages of answers."""
    raise NotImplementedError


def leave_one_out_advantage(rewards: Tensor, groups: Tensor) -> Tensor:
    """Return rewards less the mean of the others."""
    raise NotImplementedError


def pass_bonus(hits: Tensor, groups: Tensor, n_pass: int = 4) -> Tensor:
    """Return the bonus of pass at k."""
    raise NotImplementedError


def mixed_groups(matches: Tensor, groups: Tensor) -> Tensor:
    """Return which answers are in groups whose matches differ."""
    raise NotImplementedError
