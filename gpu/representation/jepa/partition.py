"""Partitions of features into groups."""

from collections.abc import Sequence
from typing import Any

from sparsetheory.constraints import SIZE

__all__ = ["as_partition"]


def as_partition(name: str, groups: Any, n_features: int | None = None) -> list[list[int]]:
    """Return groups as lists of numbers, which together are 0, 1, ..., each of them once.

    Raises
    ------
    ValueError
        If a group is empty, or a number is missing, there twice, or too large.
    """
    words = "a partition of the features, non-empty sequences that hold each of their numbers once"
    # Arrays and tensors of equal groups.
    groups = groups.tolist() if hasattr(groups, "tolist") else groups
    if isinstance(groups, str) or not isinstance(groups, Sequence) or not groups:
        raise ValueError(f"{name} must be {words}; got {groups!r}")
    parts = []
    for group in groups:
        group = group.tolist() if hasattr(group, "tolist") else group
        members = None if isinstance(group, str | int) or not hasattr(group, "__iter__") else list(group)
        if not members or not all(SIZE.accepts(member) for member in members):
            raise ValueError(f"{name} must be {words}; got the group {group!r}")
        parts.append([int(member) for member in members])
    counted = sorted(member for part in parts for member in part)
    total = len(counted) if n_features is None else n_features
    if counted != list(range(total)):
        wrong = sorted(set(range(total)).symmetric_difference(counted)) or sorted(
            {member for member in counted if counted.count(member) > 1}
        )
        raise ValueError(f"{name} must be {words}, {total} of them; missing, too large or twice: {wrong}")
    return parts
