r"""Residuals of least squares on all supports of one, two or three features, from the Gram matrix alone.

For a support M with Gram block G and correlations b the residual sum of squares is ``y'y - b' G^-1 b``. With the
Cholesky factor of G, built column by column, the second term is a sum of one square for each feature,

    l_1 = b_1^2 / G_11,   l_2 = (b_2 - G_12 b_1 / G_11)^2 / p_2,   p_2 = G_22 - G_12^2 / G_11,   ...

where p are the pivots. Nested loops share what the first features have in common. A pivot that is tiny against its
diagonal entry is rounding: the feature depends on the others, its term is left out, and the support is marked.
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry
from sparsetheory.typing import Float64Array

__all__ = ["residuals_of_pairs", "residuals_of_triples", "warmup"]

# Pivots below this share of the diagonal count as zero.
_DEPENDENT = 1e-12


@entry
def residuals_of_pairs(
    G: Float64Array, b: Float64Array, yy: float, residuals: Float64Array, pivots: Float64Array
) -> None:
    """Fill residuals and smallest relative pivots for all pairs i < j, in lexicographic order; O(d^2).

    Parameters
    ----------
    G : ndarray of shape (d, d)
    b : ndarray of shape (d,)
    yy : float
    residuals, pivots : ndarray of shape (d (d - 1) / 2,)
        A pivot of zero marks a support that depends on fewer features.
    """
    d, at = len(b), 0
    for i in range(d):
        skip = G[i, i] <= 0.0
        first = 0.0 if skip else b[i] * b[i] / G[i, i]
        for j in range(i + 1, d):
            ratio = 0.0 if skip else G[i, j] / G[i, i]
            pivot = G[j, j] - ratio * G[i, j]
            relative = pivot / G[j, j] if G[j, j] > 0.0 else 0.0
            gain = first
            if relative > _DEPENDENT:
                rest = b[j] - ratio * b[i]
                gain += rest * rest / pivot
            else:
                relative = 0.0
            residuals[at] = yy - gain
            pivots[at] = 0.0 if skip else relative
            at += 1


@entry
def residuals_of_triples(
    G: Float64Array, b: Float64Array, yy: float, residuals: Float64Array, pivots: Float64Array
) -> None:
    """Fill residuals and smallest relative pivots for all triples i < j < k, in lexicographic order; O(d^3).

    Parameters
    ----------
    G, b, yy
        As in :func:`residuals_of_pairs`.
    residuals, pivots : ndarray of shape (d (d - 1) (d - 2) / 6,)
    """
    d, at = len(b), 0
    for i in range(d):
        no_first = G[i, i] <= 0.0
        first = 0.0 if no_first else b[i] * b[i] / G[i, i]
        for j in range(i + 1, d):
            ratio = 0.0 if no_first else G[i, j] / G[i, i]
            pivot = G[j, j] - ratio * G[i, j]
            smallest = pivot / G[j, j] if G[j, j] > 0.0 else 0.0
            no_second = smallest <= _DEPENDENT
            rest = b[j] - ratio * b[i]
            both = first if no_second else first + rest * rest / pivot
            if no_second or no_first:
                smallest = 0.0
            for k in range(j + 1, d):
                # The third column of the factor: against the first feature, then against the pivot of the second.
                along = 0.0 if no_first else G[i, k] / G[i, i]
                cross = 0.0 if no_second else (G[j, k] - ratio * G[i, k]) / pivot
                last = G[k, k] - along * G[i, k] - cross * (G[j, k] - ratio * G[i, k])
                relative = last / G[k, k] if G[k, k] > 0.0 else 0.0
                gain = both
                if relative > _DEPENDENT:
                    left = b[k] - along * b[i] - cross * rest
                    gain += left * left / last
                else:
                    relative = 0.0
                residuals[at] = yy - gain
                pivots[at] = min(smallest, relative)
                at += 1


def warmup() -> None:
    """Compile the kernels."""
    G, b, room = np.eye(3), np.ones(3), np.empty(3)
    residuals_of_pairs(G, b, 3.0, room, room)
    residuals_of_triples(G, b, 3.0, room[:1], room[:1])
