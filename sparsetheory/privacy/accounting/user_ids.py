"""Which users are meant: one or many, by numbers or by names."""

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["user_ids"]

_LARGEST = 2**63


def user_ids(user_id: Any) -> list[int | str]:
    """Return one user or many users as a list of plain integers and strings.

    Raises
    ------
    ValueError
        If one of them is neither an integer of 64 bits nor a string.
    """
    if _is_one(user_id):
        return [_plain(user_id)]
    if isinstance(user_id, np.ndarray) and user_id.ndim == 1 and user_id.dtype.kind in "iU":
        listed: list[int | str] = user_id.tolist()
        return listed
    # Lists are not made arrays: that would turn the number beside a string into a string.
    if isinstance(user_id, bytes | bytearray) or not isinstance(user_id, Iterable) or getattr(user_id, "ndim", 1) != 1:
        raise _refusal(user_id)
    return [_plain(one) for one in user_id]


def _is_one(user_id: Any) -> bool:
    return isinstance(user_id, int | np.integer | str) and not isinstance(user_id, bool)


def _plain(user_id: Any) -> int | str:
    if not _is_one(user_id):
        raise _refusal(user_id)
    if isinstance(user_id, str):
        return str(user_id)
    if not -_LARGEST <= int(user_id) < _LARGEST:
        raise _refusal(user_id)
    return int(user_id)


def _refusal(user_id: Any) -> ValueError:
    return ValueError(f"user_id must be an integer of 64 bits, a string, or many of them; got {user_id!r}")
