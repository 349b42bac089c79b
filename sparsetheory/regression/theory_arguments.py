"""Arguments that the bounds share, checked in one wording."""

from typing import Any

import numpy as np

from sparsetheory.lowrank.families_arguments import is_finite

__all__ = ["require_count", "require_share"]


def require_count(name: str, value: Any) -> None:
    """Raise ValueError for what is not an integer of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{name} must be an integer of at least 0, got {value!r}")


def require_share(name: str, value: Any) -> None:
    """Raise ValueError for what is not strictly between 0 and 1."""
    if not (is_finite(value) and 0 < value < 1):
        raise ValueError(f"{name} must be between 0 and 1, got {value!r}")
