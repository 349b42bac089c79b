"""Checks of single arguments, with errors that name them."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "check_count",
    "check_jobs",
    "check_number",
    "generator",
    "is_finite",
    "real_array",
    "require_choice",
    "require_count",
    "require_finite",
    "require_flags",
    "require_nonnegative",
    "require_positive_integers",
    "require_share",
]


# Beyond this, double precision does not hold every integer; nobody waits for that many either.
_LARGEST = 2**53


def require_positive_integers(**sizes: Any) -> None:
    """Raise ValueError for the first argument that is not an integer of at least 1."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
        _require_at_most(name, value, _LARGEST)


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


def generator(random_state: Any, name: str = "random_state") -> np.random.Generator:
    """Return the generator that None, an int, a Generator or a RandomState stands for; errors call it `name`."""
    seed = random_state
    if isinstance(seed, bool | np.bool_):
        raise ValueError(f"{name} must be None, an int, a Generator or a RandomState, got {random_state!r}")
    if isinstance(seed, np.random.RandomState):
        # numpy before 2.2 makes no Generator of a RandomState; a draw from it works everywhere and advances it.
        seed = seed.randint(2**32, dtype=np.uint64)
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be None, an int of at least 0, a Generator or a RandomState, got {random_state!r}"
        ) from error


def is_finite(value: Any) -> bool:
    """Whether a value is a finite real number that double precision can hold; booleans are not."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    size: Any = abs(value)
    return bool(size <= np.finfo(np.float64).max)


def require_count(name: str, value: Any) -> None:
    """Raise ValueError for what is not an integer of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{name} must be an integer of at least 0, got {value!r}")
    _require_at_most(name, value, _LARGEST)


def _require_at_most(name: str, value: Any, most: int) -> None:
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got {value!r}")


def require_share(name: str, value: Any) -> None:
    """Raise ValueError for what is not strictly between 0 and 1."""
    if not (is_finite(value) and 0 < value < 1):
        raise ValueError(f"{name} must be between 0 and 1, got {value!r}")


def check_count(name: str, value: Any, *, most: int = _LARGEST) -> int:
    """Return a positive integer.

    Raises
    ------
    ValueError
        If it is not one, or is more than `most`: so many of what takes time each would run without end. Booleans are
        refused.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a positive integer; got {value!r}")
    _require_at_most(name, value, most)
    return int(value)


def check_jobs(n_jobs: Any) -> int | None:
    """Return a number of workers as joblib takes it.

    Raises
    ------
    ValueError
        If it is neither None nor an integer other than 0, or is more than a million; booleans are refused.
    """
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, Integral) or n_jobs == 0):
        raise ValueError(f"n_jobs must be None or an integer other than 0; got {n_jobs!r}")
    count = None if n_jobs is None else int(n_jobs)
    if count is not None and abs(count) > 10**6:
        raise ValueError(f"n_jobs must be at most a million; got {n_jobs!r}")
    return count


def check_number(name: str, value: Any, *, positive: bool = False) -> float:
    """Return a finite number that is not negative, or is positive.

    Raises
    ------
    ValueError
        If it is not one; booleans are refused.
    """
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (positive and value == 0):
        raise ValueError(f"{name} must be a finite {'positive' if positive else 'non-negative'} number; got {value!r}")
    return float(value)


def require_flags(**flags: Any) -> None:
    """Raise ValueError for the first argument that is neither True nor False."""
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name} must be True or False, got {value!r}")


def require_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise ValueError for what is not one of some names."""
    known = tuple(choices)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")


def real_array(name: str, value: Any, ndim: int | None = None) -> NDArray[np.floating]:
    """Return an array of finite real numbers; single precision stays, all else becomes double.

    Raises
    ------
    ValueError
        If it is not one, or does not have `ndim` axes.
    """
    try:
        array = np.asarray(value)
        array = array if array.dtype == np.float32 else array.astype(np.float64, casting="same_kind")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers, got {value!r}") from error
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return array
