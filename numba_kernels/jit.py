"""The one decorator under which every kernel is compiled."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numba

__all__ = ["kernel"]

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_warned = False


def kernel(function: Callable[..., Any] | None = None, *, fastmath: bool = False) -> Any:
    """Compile a module-level function on first call and keep the machine code on disk.

    The interpreter lock is released while it runs, and division by zero follows NumPy. Where no cache folder
    can be written, kernels are compiled afresh in every process, and one warning says so.

    Parameters
    ----------
    function : callable
        Arrays and scalars in, arrays and scalars out. numba notices an edit only in the file of the cached function,
        so a kernel calls kernels of its own file, those of ``proximal.py``, and inlined pieces (whoever edits these in
        place must change ``NUMBA_CACHE_DIR``; the tests and ``make`` name it by a hash of all kernels).
    fastmath : bool
        Let sums be reordered, so that they vectorise. NaN and infinity keep their meaning.

    Returns
    -------
    callable
        The compiled dispatcher.
    """
    global _warned
    if function is None:
        return partial(kernel, fastmath=fastmath)
    options = _OPTIONS | ({"fastmath": {"reassoc", "contract"}} if fastmath else {})
    try:
        return numba.njit(cache=True, **options)(function)
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
        return numba.njit(**options)(function)
