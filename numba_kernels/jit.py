"""The one decorator under which every kernel is compiled."""

import warnings
from collections.abc import Callable
from typing import Any

import numba

__all__ = ["kernel"]

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_warned = False


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a module-level function on first call and keep the machine code on disk.

    The interpreter lock is released while it runs, and division by zero follows NumPy. Where no cache folder
    can be written, kernels are compiled afresh in every process, and one warning says so.

    Parameters
    ----------
    function : callable
        Arrays and scalars in, arrays and scalars out; it may call kernels of its own file only, because numba
        notices an edit only in the file of the cached function.

    Returns
    -------
    callable
        The compiled dispatcher.
    """
    global _warned
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        if not _warned:
            warnings.warn(
                "kernels are compiled in every process, because no cache folder can be written; "
                "set NUMBA_CACHE_DIR to a writable folder to keep them",
                RuntimeWarning,
                stacklevel=2,
            )
            _warned = True
        return numba.njit(**_OPTIONS)(function)
