r"""Steps of Frank and Wolfe for D-optimal designs, with rank-one updates of everything they need.

A design is a probability vector p over the rows a of a matrix. With ``V = sum p a a^T`` the leverages are
``g = a^T V^-1 a``, and ``log det V`` has the gradient g. A step moves weight t to row j (from it, for negative t):

    p <- (1 - t) p + t e_j,   V <- (1 - t) V + t a_j a_j^T.

With ``k = g_j`` the determinant changes by ``(1 - t)^d (1 + t k / (1 - t))``, which is largest at
``t = (k - d) / (d (k - 1))``. By the formula of Sherman and Morrison, with ``u = V^-1 a_j`` and
``b = t / (1 - t + t k)``,

    V^-1 <- (V^-1 - b u u^T) / (1 - t),   g <- (g - b (A u)^2) / (1 - t).

So a step costs one product of the matrix with a vector, O(n d), instead of O(n d^2).
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry
from sparsetheory.typing import Float64Array

__all__ = ["design_steps", "warmup"]

# Weights below this are rounding of a row that has left the support.
_NO_WEIGHT = 1e-14


@entry(fastmath=True)
def design_steps(
    A: Float64Array,
    weights: Float64Array,
    inverse: Float64Array,
    leverages: Float64Array,
    direction: Float64Array,
    goal: float,
    least: float,
    away: bool,
    max_steps: int,
) -> int:
    """Improve a design in place, until no leverage exceeds the goal.

    Parameters
    ----------
    A : ndarray of shape (n, d)
        Rows, of rank d.
    weights, leverages : ndarray of shape (n,)
        The design and its leverages, updated.
    inverse : ndarray of shape (d, d)
        Inverse of V, updated.
    direction : ndarray of shape (d,)
        Room for u.
    goal, least : float
        Stop when all leverages are at most `goal`, and those of the support at least `least`.
    away : bool
        Whether steps away from the worst row of the support are tried.
    max_steps : int
        Most steps.

    Returns
    -------
    int
        Steps done; negative, less one, if they ended before the goal was reached.
    """
    n, d = A.shape
    for step in range(max_steps):
        # 1. The row with most to give, and the row of the support with least. Of equal ones the first.
        best, worst = 0, -1
        for i in range(n):
            if leverages[i] > leverages[best]:
                best = i
            if weights[i] > 0 and (worst < 0 or leverages[i] < leverages[worst]):
                worst = i
        if leverages[best] <= goal and leverages[worst] >= least:
            return step
        row = worst if away and d - leverages[worst] > leverages[best] - d else best
        k = leverages[row]
        # 2. The exact line search; a step away takes at most all weight, and all of it where the determinant only
        # grows.
        if row == best:
            t = (k - d) / (d * (k - 1.0))
        else:
            most = -weights[row] / (1.0 - weights[row])
            t = most if k <= 1.0 else max((k - d) / (d * (k - 1.0)), most)
        b, stay = t / (1.0 - t + t * k), 1.0 / (1.0 - t)
        # 3. u = V^-1 a_j, then the inverse, the leverages and the weights.
        for i in range(d):
            total = 0.0
            for j in range(d):
                total += inverse[i, j] * A[row, j]
            direction[i] = total
        for i in range(d):
            scaled = b * direction[i]
            for j in range(d):
                inverse[i, j] = (inverse[i, j] - scaled * direction[j]) * stay
        for i in range(n):
            product = 0.0
            for j in range(d):
                product += A[i, j] * direction[j]
            leverages[i] = (leverages[i] - b * product * product) * stay
            weights[i] *= 1.0 - t
        weights[row] += t
        if weights[row] < _NO_WEIGHT:
            weights[row] = 0.0
    return -1 - max_steps


def warmup() -> None:
    """Compile the kernel."""
    A = np.eye(2)
    design_steps(A, np.full(2, 0.5), 2.0 * A, np.full(2, 2.0), np.empty(2), 2.0, 0.0, True, 1)
