"""Arguments that the families of blocks share, checked in one wording."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BlockList", "generator", "is_finite", "require_finite", "require_nonnegative", "require_positive_integers"]

BlockList = list[NDArray[np.float64]]


def require_positive_integers(**sizes: Any) -> None:
    """Raise ValueError for the first argument that is not an integer of at least 1."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def require_finite(**numbers: Any) -> None:
    """Raise ValueError for the first argument that is not a finite real number."""
    for name, value in numbers.items():
        if not is_finite(value):
            raise ValueError(f"{name} must be a finite number, got {value!r}")


def require_nonnegative(**numbers: Any) -> None:
    """Raise ValueError for the first argument that is not a finite number of at least 0."""
    for name, value in numbers.items():
        if not is_finite(value) or value < 0:
            raise ValueError(f"{name} must be at least 0 and finite, got {value!r}")


def generator(random_state: Any) -> np.random.Generator:
    """Return the generator that `random_state` (None, int, Generator or RandomState) stands for."""
    seed = random_state
    if isinstance(seed, np.random.RandomState):
        # numpy before 2.2 makes no Generator of a RandomState; a draw from it works everywhere and advances it.
        seed = seed.randint(2**32, dtype=np.uint64)
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"random_state must be None, an int of at least 0, a Generator or a RandomState, got {random_state!r}"
        ) from error


def is_finite(value: Any) -> bool:
    """Whether a value is a finite real number."""
    return isinstance(value, int | float | np.integer | np.floating) and bool(np.isfinite(value))
