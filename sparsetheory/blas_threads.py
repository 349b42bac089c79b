"""Threads of BLAS: one where products are too small to share."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import scipy.linalg  # noqa: F401  # its BLAS must be loaded before libraries are looked for
from threadpoolctl import ThreadpoolController

__all__ = ["blas_threads", "gram_work"]

# Multiplications from which on threads may pay. NumPy and SciPy each bring a BLAS with a pool of its own, and calls
# that alternate between two pools of waiting threads can take many times as long as one thread.
_WORTH_SHARING = 2.0**26


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def blas_threads(work: float) -> AbstractContextManager[Any]:
    """Keep BLAS to one thread, unless its calls are large.

    Parameters
    ----------
    work : float
        Multiplications of a typical call. From some 10^8 on, which take several milliseconds, the threads that the user
        has allowed are left alone.

    Returns
    -------
    context manager
        Contexts of several threads may overlap.

    Examples
    --------
    >>> import numpy as np
    >>> with blas_threads(100 * 100 * 100):
    ...     square = np.ones((100, 100)) @ np.ones((100, 100))
    """
    return nullcontext() if work >= _WORTH_SHARING else _controller().limit(limits=1, user_api="blas")


def gram_work(shape: tuple[int, int], *, is_complex: bool = False) -> float:
    """Return the multiplications of the smaller Gram matrix of a matrix of this shape."""
    return float(shape[0]) * shape[1] * min(shape) * (4 if is_complex else 1)
