"""Clusterings decided by norms and spectra of single blocks alone, without any matrix."""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import BoolArray, Float64Array, Int64Array

__all__ = ["max_norm_partition", "union_walk", "warmup"]


@kernel
def max_norm_partition(
    energies: Float64Array,
    widths: Int64Array,
    caps: Float64Array,
    rank: int,
    threshold: float,
    slack: float,
    patience: int,
) -> Int64Array:
    """Partition blocks by the energy that each cluster's largest blocks capture.

    Blocks come in descending order of energy. Seeds take them from the front and candidates from the back, so what
    remains is always a range, and one array of partial sums answers every "how many more fit".

    Parameters
    ----------
    energies, widths, caps : arrays of shape (M,)
        Squared norms, column counts, and the energy that `rank` directions capture of each block alone.
    rank : int
        Columns of a seed.
    threshold : float
        Squared tolerance.
    slack : float
        Rounding allowance relative to the energy.
    patience : int
        Seeds in a row that may stay alone before all the rest become singletons.

    Returns
    -------
    labels : int64 array of shape (M,)
        Cluster of each block, in order of creation.

    Notes
    -----
    A cluster with energy e, of which its seed captures at least `cap`, has squared error at most e - cap. It is within
    tolerance if ``e - cap <= (threshold - slack) e``, that is if ``e <= cap / (1 - threshold + slack)``. O(M log M).
    """
    count = energies.size
    # below[k] is the energy of the k smallest blocks. Differences of these sums are compared with single energies:
    # plain summation would lose up to M roundings, Kahan's keeps the sum to two.
    below = np.zeros(count + 1)
    lost = 0.0
    for k in range(count):
        term = energies[count - 1 - k] - lost
        below[k + 1] = below[k] + term
        lost = (below[k + 1] - below[k]) - term
    labels = np.empty(count, np.int64)
    # Blocks front .. count - taken - 1 are not in a cluster yet.
    front, taken, label, failures = 0, 0, 0, 0
    room = 1.0 - threshold + slack
    while front + taken < count:
        end = count - taken
        start, used, seed_energy = front, widths[front], energies[front]
        front += 1
        # The seed takes the largest blocks as long as its columns are at most `rank`: then it captures all of itself.
        while front < end and used + widths[front] <= rank:
            used += widths[front]
            seed_energy += energies[front]
            front += 1
        # One block may be wider than that, and captures what its own best `rank` directions do.
        cap = caps[start] if front == start + 1 else seed_energy
        # How many of the smallest blocks fit: the largest g with below[taken + g] - below[taken] + seed_energy <= cap /
        # room, by bisection, since `below` does not fall.
        if room <= 0.0:
            grown = end - front
        else:
            limit = below[taken] + (cap / room - seed_energy)
            low, high = taken, taken + end - front
            while low < high:
                middle = (low + high + 1) // 2
                if below[middle] <= limit:
                    low = middle
                else:
                    high = middle - 1
            grown = low - taken
        if grown == 0:
            # Later seeds have less energy, and the smallest candidate stays: after some failures none will succeed.
            failures += 1
            if failures >= patience:
                for k in range(start, end):
                    labels[k] = label
                    label += 1
                break
        else:
            failures = 0
        labels[start:front] = label
        labels[end - grown : end] = label
        taken += grown
        label += 1
    return labels


@kernel
def union_walk(
    spectra: Float64Array,
    energies: Float64Array,
    candidates: Int64Array,
    kept: Float64Array,
    energy: float,
    threshold: float,
    slack: float,
    skip: bool,
) -> BoolArray:
    """Add candidates to a cluster while the r largest squares of all its blocks capture enough energy.

    Parameters
    ----------
    spectra : float64 array of shape (M, r)
        Descending squared singular values of every block, padded with zeros.
    energies : float64 array of shape (M,)
        Squared norms.
    candidates : int64 array
        Blocks to try, in order.
    kept : float64 array of shape (r,)
        Descending squares of the seed; overwritten by those of the final cluster.
    energy : float
        Energy of the seed.
    threshold, slack : float
        As in :func:`max_norm_partition`.
    skip : bool
        Try later candidates after one has failed.

    Returns
    -------
    accepted : bool array
        One entry per candidate.

    Notes
    -----
    Project all blocks on the left singular vectors that belong to the r largest squares: at most r directions. Every
    block keeps at least the squares of its own vectors among them. So the energy less the sum of the r largest squares
    bounds the squared error from above. O(r) for each candidate, by merging two descending lists.
    """
    rank = kept.size
    accepted = np.zeros(candidates.size, np.bool_)
    merged = np.empty(rank)
    for c in range(candidates.size):
        k = candidates[c]
        # The r largest of two descending lists of r, and their sum.
        i, j, cap = 0, 0, 0.0
        for position in range(rank):
            if kept[i] >= spectra[k, j]:
                merged[position] = kept[i]
                i += 1
            else:
                merged[position] = spectra[k, j]
                j += 1
            cap += merged[position]
        total = energy + energies[k]
        if total - cap + slack * total <= threshold * total:
            accepted[c] = True
            kept[:] = merged
            energy = total
        elif not skip:
            break
    return accepted


def warmup() -> None:
    """Compile the kernels of this file for their only signatures."""
    one, index = np.ones(1), np.zeros(1, np.int64)
    max_norm_partition(one, index, one, 1, 0.01, 0.0, 1)
    union_walk(np.ones((1, 1)), one, index, one.copy(), 1.0, 0.01, 0.0, False)
