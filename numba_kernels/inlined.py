"""Building blocks of kernels: functions on arrays that cost little or nothing to call."""

from collections.abc import Callable
from functools import partial
from typing import Any

from sparsetheory.numba_kernels.jit import kernel

__all__ = ["block", "inlined"]


def block(function: Callable[..., Any] | None = None, *, fastmath: bool = False) -> Any:
    """Compile a function like :func:`sparsetheory.numba_kernels.jit.kernel`, but count no references.

    A compiled call counts references to every array among its arguments, atomically: about 10 ns per array, more than
    many a short loop takes. A function that neither creates nor returns arrays need not count.

    Parameters
    ----------
    function : callable
        Creates and returns no array; slices of arguments are fine.
    fastmath : bool
        As in :func:`~sparsetheory.numba_kernels.jit.kernel`.

    Returns
    -------
    callable
        The compiled dispatcher.
    """
    if function is None:
        return partial(block, fastmath=fastmath)
    compiled = kernel(function, fastmath=fastmath)
    compiled.targetoptions.update(_nrt=False)
    return compiled


def inlined(function: Callable[..., Any] | None = None, *, fastmath: bool = False) -> Any:
    """Compile a function like :func:`block`, and inline it wherever a kernel calls it; parameters are the same."""
    if function is None:
        return partial(inlined, fastmath=fastmath)
    compiled = block(function, fastmath=fastmath)
    compiled.targetoptions.update(forceinline=True)
    return compiled
