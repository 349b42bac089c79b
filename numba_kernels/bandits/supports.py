r"""Residuals of least squares on many supports, from the Gram matrix alone.

For a support M with Gram block G and correlations b the residual sum of squares is ``y'y - b' G^-1 b``. With the
factor of Cholesky, built feature by feature, the second term is a sum of one square for each feature,

    l_1 = b_1^2 / G_11,   l_2 = (b_2 - G_12 b_1 / G_11)^2 / p_2,   p_2 = G_22 - G_12^2 / G_11,   ...

where p are the pivots. A pivot that is tiny against its diagonal entry is rounding: the feature depends on the others,
its term is left out, and the support is marked. Neighbours in lexicographic order share their first features, whose
rows of the factor are kept: then a support of s features costs O(s^2) on average.
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["residuals_of_supports", "warmup"]

# Pivots below this share of the diagonal count as zero.
_DEPENDENT = 1e-12


@entry
def residuals_of_supports(
    G: Float64Array,
    b: Float64Array,
    yy: float,
    supports: IndexArray,
    factor: Float64Array,
    steps: Float64Array,
    residuals: Float64Array,
    pivots: Float64Array,
) -> None:
    """Fill residuals and products of relative pivots for supports of s features each.

    Parameters
    ----------
    G : ndarray of shape (d, d)
        With a positive diagonal.
    b : ndarray of shape (d,)
    yy : float
    supports : ndarray of int, of shape (m, s)
        Fastest in lexicographic order.
    factor : ndarray of shape (s, s)
        Room for the rows of the factor.
    steps : ndarray of shape (4, s)
        Room for inverse pivots, what is left of b, sums of squares, and products of relative pivots, after each
        feature.
    residuals, pivots : ndarray of shape (m,)
        Products: determinants of the Gram matrices of features of unit length. Rounding of a residual is that over
        the smallest eigenvalue, which is at least a third of the determinant; the smallest pivot can be much larger.
        Zero marks a support that depends on fewer features.
    """
    m, s = supports.shape
    for at in range(m):
        shared = 0
        if at > 0:
            while shared < s and supports[at, shared] == supports[at - 1, shared]:
                shared += 1
        for i in range(shared, s):
            feature = supports[at, i]
            pivot, rest = G[feature, feature], b[feature]
            for k in range(i):
                cross = G[feature, supports[at, k]]
                for j in range(k):
                    cross -= factor[i, j] * factor[k, j] * steps[0, j]
                factor[i, k] = cross
                share = cross * steps[0, k]
                pivot -= cross * share
                rest -= share * steps[1, k]
            before = steps[2, i - 1] if i > 0 else 0.0
            product = steps[3, i - 1] if i > 0 else 1.0
            relative = pivot / G[feature, feature]
            if relative > _DEPENDENT:
                steps[0, i] = 1.0 / pivot
            else:  # an inverse pivot of zero leaves the feature out of all that follows
                steps[0, i], relative = 0.0, 0.0
            steps[1, i] = rest
            steps[2, i] = before + rest * rest * steps[0, i]
            steps[3, i] = product * relative
        residuals[at] = yy - steps[2, s - 1]
        pivots[at] = steps[3, s - 1]


def warmup() -> None:
    """Compile the kernel."""
    supports = np.array([[0, 1], [0, 2]], dtype=np.intp)
    square, room = np.empty((2, 2)), np.empty(2)
    residuals_of_supports(np.eye(3), np.ones(3), 3.0, supports, square, np.empty((4, 2)), room, room.copy())
