"""The parts of an iteration with Kronecker structure that are neither matrix products nor eigenvalue problems."""

import math

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["product_ratios", "warmup", "weigh_spectrum"]


@kernel(fastmath=True)
def weigh_spectrum(
    values: Float64Array,
    starts: Int64Array,
    noise_variance: float,
    rotated: Float64Array,
    snapshot_weight: float,
    weights: Float64Array,
    sums: Float64Array,
) -> None:
    """Divide rotated measurements by the eigenvalues of their covariance, and sum what costs and updates need.

    The eigenvalues are the noise variance plus all products P of one value per mode.

    Parameters
    ----------
    values : ndarray of shape (total,)
        Values of all modes, one after the other.
    starts : ndarray of shape (d + 1,)
        Where each mode starts, and the total.
    noise_variance : float
        Positive.
    rotated : ndarray of shape (M, n_parts)
        Measurements, real and imaginary parts and snapshots side by side; divided in place.
    snapshot_weight : float
        One over the number of snapshots.
    weights : ndarray of shape (M,)
        Output: one over the eigenvalues, w.
    sums : ndarray of shape (5,)
        Output, with e the squared measurements times `snapshot_weight`: sums of ``log(1 / w)``, ``e w``, ``e w^2``,
        ``P w``, w.

    Notes
    -----
    O(M n_parts), in one pass over the measurements and without a temporary of their size.
    """
    # Step 1. All products P of one value per mode, in C order, built in the place of the output. Before mode k the
    # first `size` entries hold the products of the modes so far; each is replaced by its n products with the values of
    # mode k. Going backwards, the products of entry i go to places from i * n on, and entries that are still to be read
    # lie below i: none is overwritten too early.
    size = 1
    weights[0] = 1.0
    for k in range(starts.size - 1):
        n = starts[k + 1] - starts[k]
        for i in range(size - 1, -1, -1):
            base = weights[i]
            for j in range(n - 1, -1, -1):
                weights[i * n + j] = base * values[starts[k] + j]
        size *= n
    # Step 2. One over each eigenvalue, the measurements times it (the rotated C^-1 y), and the five sums. The update of
    # the noise variance needs M - noise_variance * sum(w), which is sum(P w): positive terms instead of a difference.
    logs, fitted, squares, freedom, trace = 0.0, 0.0, 0.0, 0.0, 0.0
    for m in range(size):
        product = weights[m]
        weight = 1.0 / (noise_variance + product)
        energy = 0.0
        for c in range(rotated.shape[1]):
            energy += rotated[m, c] * rotated[m, c]
            rotated[m, c] *= weight
        energy *= snapshot_weight * weight
        weights[m] = weight
        logs += math.log(noise_variance + product)
        fitted += energy
        squares += energy * weight
        freedom += product * weight
        trace += weight
    sums[0], sums[1], sums[2], sums[3], sums[4] = logs, fitted, squares, freedom, trace


@kernel(fastmath=True)
def _leading_weight(vectors: Float64Array, starts: Int64Array, place: int, left_out: int) -> float:
    """Return the product of one entry of each leading vector but one, at a place of their outer product."""
    # The place is read like a number with one digit per leading mode, the last digit first.
    weight = 1.0
    for k in range(starts.size - 3, -1, -1):
        n = starts[k + 1] - starts[k]
        if k != left_out:
            weight *= vectors[starts[k] + place % n]
        place //= n
    return weight


@kernel(fastmath=True)
def _turn(
    rising: Float64Array, falling: Float64Array, factors: Float64Array, start: int, a: Float64Array, b: Float64Array
) -> None:
    """Multiply one factor by its ratio, and divide its copy by it; zero over zero gives zero."""
    for i in range(a.size):
        ratio = math.sqrt(b[i] / a[i]) if a[i] > 0.0 else 0.0
        rising[start + i] = factors[start + i] * ratio
        falling[start + i] = factors[start + i] / ratio if ratio > 0.0 else 0.0


@kernel(fastmath=True)
def product_ratios(
    q: Float64Array, power: Float64Array, factors: Float64Array, starts: Int64Array, updated: Float64Array
) -> None:
    """Minimise ``sum G (q tau + power / tau)`` over one factor of tau after the other, and multiply G by them.

    Parameters
    ----------
    q, power : ndarray of shape (N,)
        Tensors in C order.
    factors : ndarray of shape (total,)
        Factors of G, one mode after the other.
    starts : ndarray of shape (d + 1,)
        Where each mode starts, and the total.
    updated : ndarray of shape (total,)
        Output: factors times the ratios, each the square root of a quotient of sums.

    Notes
    -----
    Two passes over the tensors: modes before the last share their sums over the last.
    """
    # Over the ratio t of mode k alone the sum is that of a_i t_i + b_i / t_i, where a_i and b_i sum G q tau and
    # G power / tau over slice i at the ratios of the other modes, without t_i: its minimiser is sqrt(b_i / a_i). The
    # ratios are never formed as a tensor. `updated` holds factors times their new ratios, which a needs of the other
    # modes, and `falling` factors divided by them, which b needs; of mode k itself the old factor cancels in b_i / a_i,
    # so that it is left out of both.
    d = starts.size - 1
    last = starts[d] - starts[d - 1]
    lead = q.size // last
    # First pass, O(N): while the ratio of the last mode is one, all other modes see the tensors through these sums.
    tail = factors[starts[d - 1] :]
    shared_q, shared_power = np.empty(lead), np.empty(lead)
    for i in range(lead):
        left, right = 0.0, 0.0
        for j in range(last):
            left += q[i * last + j] * tail[j]
            right += power[i * last + j] * tail[j]
        shared_q[i], shared_power[i] = left, right
    # Modes before the last, O(d N / N_d) each. Invariant: modes before k are new in `updated` and `falling`.
    falling = factors.copy()
    updated[:] = factors
    stride = lead
    for k in range(d - 1):
        n = starts[k + 1] - starts[k]
        stride //= n
        a, b = np.zeros(n), np.zeros(n)
        for i in range(lead):
            place = (i // stride) % n
            a[place] += _leading_weight(updated, starts, i, k) * shared_q[i]
            b[place] += _leading_weight(falling, starts, i, k) * shared_power[i]
        _turn(updated, falling, factors, starts[k], a, b)
    # Second pass, O(N): the last mode sees the new ratios of all others.
    a, b = np.zeros(last), np.zeros(last)
    for i in range(lead):
        left, right = _leading_weight(updated, starts, i, -1), _leading_weight(falling, starts, i, -1)
        for j in range(last):
            a[j] += left * q[i * last + j]
            b[j] += right * power[i * last + j]
    _turn(updated, falling, factors, starts[d - 1], a, b)


def warmup() -> None:
    """Compile the kernels of this file."""
    starts = np.array([0, 2, 4])
    ones = np.ones(4)
    weigh_spectrum(ones, starts, 1.0, np.ones((4, 1)), 1.0, np.empty(4), np.empty(5))
    product_ratios(ones, ones, ones, starts, np.empty(4))
