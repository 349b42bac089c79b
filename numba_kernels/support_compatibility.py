"""The largest norm of a signed sum of rows."""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import Float64Array

__all__ = ["largest_signed_norm", "warmup"]


@kernel
def largest_signed_norm(rows: Float64Array) -> float:
    """Return ``max |sum_i s_i rows[i]|`` over all signs, O(2^k k).

    Parameters
    ----------
    rows : ndarray of shape (k, p)
        Vectors, C-ordered.

    Returns
    -------
    float
    """
    k, p = rows.shape
    total = np.zeros(p)
    signs = np.ones(k)
    for i in range(k):
        for j in range(p):
            total[j] += rows[i, j]
    best = 0.0
    # The last sign stays: a sum and its negative have one norm. Gray codes change one sign per step.
    for step in range(1, 2 ** max(k - 1, 0) + 1):
        square = 0.0
        for j in range(p):
            square += total[j] * total[j]
        best = max(best, square)
        i, rest = 0, step
        while rest % 2 == 0:
            rest //= 2
            i += 1
        if i < k:
            signs[i] = -signs[i]
            for j in range(p):
                total[j] += 2.0 * signs[i] * rows[i, j]
    return np.sqrt(best)


def warmup() -> None:
    """Compile the kernel."""
    largest_signed_norm(np.ones((1, 1)))
