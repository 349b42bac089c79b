"""The largest norm of a signed sum of rows.

All ``2^k`` sign vectors are visited in the order of a Gray code, in which neighbours differ by one sign: a step changes
the sum by twice one row, O(p), and not by a new sum of k rows. The sign to flip in step t is the number of trailing
zeros of t (first 0, then 1, 0, 2, 0, 1, 0, 3, ...). A sum and its negative have the same norm, so the last sign never
changes and ``2^(k - 1)`` sums are enough.
"""

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
    # 1. All signs are +1: the total is the sum of the rows.
    total = np.zeros(p)
    signs = np.ones(k)
    for i in range(k):
        for j in range(p):
            total[j] += rows[i, j]
    best = 0.0
    for step in range(1, 2 ** max(k - 1, 0) + 1):
        # 2. The norm of the current sum.
        square = 0.0
        for j in range(p):
            square += total[j] * total[j]
        best = max(best, square)
        # 3. The sign to flip: the number of trailing zeros of the step. After the last norm it does not matter.
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
