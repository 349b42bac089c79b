"""Lower bounds on the joint error of two clusters from scalars and short spectra."""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["pair_lower_bounds", "warmup"]

# Overlaps are squares of energies: of weaker clusters they underflow, and understated they would bound too high.
_SMALLEST_SQUARE = 1e-290


@kernel
def pair_lower_bounds(
    energies: Float64Array,
    overlaps: Float64Array,
    cross: Float64Array,
    errors: Float64Array,
    spectra: Float64Array,
    losses: Float64Array,
    widths: Int64Array,
    n_rows: int,
    a: int,
    others: Int64Array,
) -> Float64Array:
    """Bound from below the relative squared error of cluster `a` joined with each of `others`.

    The largest of three bounds counts. First, errors are superadditive: r directions for both clusters cannot serve
    each of them better than r directions of its own. Second, the energy that r directions capture is at most what
    Wolkowicz and Styan (1980) allow for the trace and the squared norm of the Gram matrix. Third, it is at most the sum
    of the r largest squares of both spectra, plus what the overlap of the two clusters can add. O(r) for each pair.

    Parameters
    ----------
    energies, overlaps, errors, losses : float64 arrays of shape (M,)
        Per cluster: energy e, squared norm q of its Gram matrix, squared best rank-r error, and how much the r largest
        squares in `spectra` may understate the captured energy.
    cross : float64 array of shape (M, M)
        Squared norms of the products of two clusters.
    spectra : float64 array of shape (M, r)
        Descending squared singular values.
    widths : int64 array of shape (M,)
        Column counts.
    n_rows, a : int
        Row count, and the first cluster of every pair.
    others : int64 array
        The second clusters.

    Returns
    -------
    float64 array
        One bound per pair, in units of the pair's energy.
    """
    rank = spectra.shape[1]
    bounds = np.empty(others.size)
    for position in range(others.size):
        b = others[position]
        energy = energies[a] + energies[b]
        best = errors[a] + errors[b]
        bounds[position] = best / energy
        if energy * energy < _SMALLEST_SQUARE:
            continue
        # Second bound: n eigenvalues of mean e / n and given variance; the r largest lie above the mean by at most
        # sqrt(variance r (n - r) / n).
        n = min(n_rows, widths[a] + widths[b])
        if n >= rank:
            overlap = overlaps[a] + overlaps[b] + 2.0 * cross[a, b]
            variance = max(overlap - energy * energy / n, 0.0)
            best = max(best, energy - rank * energy / n - np.sqrt(variance * rank * (n - rank) / n))
        # Third bound: the Gram matrix is block diagonal but for the product of both clusters, whose nuclear norm is at
        # most the root of its rank times its squared norm.
        i, j, union = 0, 0, 0.0
        for _ in range(rank):
            if spectra[a, i] >= spectra[b, j]:
                union += spectra[a, i]
                i += 1
            else:
                union += spectra[b, j]
                j += 1
        shared = min(rank, min(widths[a], widths[b]))
        best = max(best, energy - union - losses[a] - losses[b] - np.sqrt(shared * cross[a, b]))
        bounds[position] = best / energy
    return bounds


def warmup() -> None:
    """Compile the kernels of this file for their only signatures."""
    one, square, index = np.ones(1), np.ones((1, 1)), np.zeros(1, np.int64)
    pair_lower_bounds(one, one, square, one, square, one, index + 1, 1, 0, index)
