"""Compiles the kernels ahead of their first use."""

import importlib
import pkgutil
import time
from collections.abc import Iterator

import sparsetheory.numba_kernels as root

__all__ = ["compile_kernels"]


def compile_kernels() -> Iterator[tuple[str, float]]:
    """Call ``warmup()`` of every module below ``sparsetheory.numba_kernels`` that has one.

    Yields
    ------
    name : str
        The module, without the name of the package.
    seconds : float
        Time for import and compilation.
    """
    for info in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
        started = time.perf_counter()
        module = importlib.import_module(info.name)
        if hasattr(module, "warmup"):
            module.warmup()
            yield info.name.removeprefix(root.__name__ + "."), time.perf_counter() - started
