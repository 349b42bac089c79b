"""Building blocks of kernels: functions on arrays that cost little or nothing to call."""

from collections.abc import Callable
from functools import partial
from typing import Any

from numba.core import types

from sparsetheory.numba_kernels.jit import kernel

__all__ = ["block", "entry", "inlined"]


def entry(function: Callable[..., Any] | None = None, *, fastmath: bool = False) -> Any:
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
        return partial(entry, fastmath=fastmath)
    return _compiled(function, fastmath, _nrt=False)


def block(function: Callable[..., Any] | None = None, *, fastmath: bool = False) -> Any:
    """Compile a function like :func:`entry`, for calls from other kernels alone; parameters are the same.

    The glue that a call from Python needs takes a fifth of the time of compilation where arguments hold many arrays.
    A call from Python ends the process.
    """
    if function is None:
        return partial(block, fastmath=fastmath)
    return _compiled(function, fastmath, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def inlined(function: Callable[..., Any] | None = None, *, fastmath: bool = False) -> Any:
    """Compile a function like :func:`block`, and inline it wherever a kernel calls it; parameters are the same."""
    if function is None:
        return partial(inlined, fastmath=fastmath)
    compiled = block(function, fastmath=fastmath)
    compiled.targetoptions.update(forceinline=True)
    return compiled


def _compiled(function: Callable[..., Any], fastmath: bool, **options: bool) -> Any:
    compiled = kernel(function, fastmath=fastmath)
    compiled.targetoptions.update(options)
    for_types = compiled.get_call_template

    def for_values(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        # A caller that passes a written number would have the function compiled once more for that number.
        return for_types(tuple(map(types.unliteral, args)), kws)

    compiled.get_call_template = for_values
    return compiled
