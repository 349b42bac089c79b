"""Bounds that need a few numbers and no matrix."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import COUNT, NONNEGATIVE
from sparsetheory.typing import Float64Array

__all__ = ["perturbation_bound", "scalar_bounds"]


def scalar_bounds(energy: float, overlap: float, n_directions: int, rank: int) -> tuple[float, float]:
    r"""Bound the energy captured by r directions from two traces.

    Parameters
    ----------
    energy : float
        :math:`t = \|C\|_F^2`.
    overlap : float
        :math:`q = \|C C^H\|_F^2`.
    n_directions : int
        The smaller dimension of the matrix, at least `rank`.
    rank : int
        r.

    Returns
    -------
    lo, hi : float
        With :math:`lo \le \sum_{i\le r}\sigma_i^2 \le hi`, the rounding of `energy` and `overlap` included: where the
        squares are nearly equal, it moves the upper end by about 1e-8 of the energy.

    Raises
    ------
    ValueError
        If no matrix has these traces.

    Notes
    -----
    The upper end is that of Wolkowicz and Styan (1980).

    Examples
    --------
    >>> lo, hi = scalar_bounds(energy=5.0, overlap=17.0, n_directions=2, rank=1)  # squares 4 and 1
    >>> round(lo, 9), round(hi, 9)
    (3.4, 4.0)
    """
    rank = COUNT.check("rank", rank)
    n = COUNT.check("n_directions", n_directions)
    if n < rank:
        raise ValueError(f"n_directions must be at least rank={rank}; got {n}")
    NONNEGATIVE.require(energy=energy, overlap=overlap)
    if energy == 0:
        return 0.0, 0.0
    # Of unit energy, so that nothing overflows. Sums of n squares and of n fourth powers round by so much.
    allowance = 4 * (8 + n) * float(np.finfo(float).eps)
    q = float(overlap) / float(energy) / float(energy)
    if not (1 - allowance) / n <= q <= 1 + allowance:
        raise ValueError(
            f"overlap must be between energy**2 / n_directions and energy**2, as for every matrix; got "
            f"energy={energy!r}, overlap={overlap!r}, n_directions={n}"
        )
    variance = max(q - 1 / n, 0.0) + allowance * q
    hi = min(rank / n + np.sqrt(variance * rank * (n - rank) / n), np.sqrt(rank * q), 1.0) * (1 + allowance)
    lo = q
    if rank > 1:
        # The captured share c satisfies q <= a c^2 + c / r with a = 1 - 1/r.
        a, mean = 1 - 1 / rank, 1 / rank
        lo = max(lo, (-mean + np.sqrt(mean**2 + 4 * a * q)) / (2 * a))
    return float(min(lo * (1 - allowance), hi)) * float(energy), float(hi) * float(energy)


def perturbation_bound(
    block_norms: ArrayLike, perturbation_norms: ArrayLike, singular_values: ArrayLike
) -> Float64Array:
    r"""Bound how far perturbations of the blocks move the singular values of their concatenation.

    :math:`|\tilde\sigma_i - \sigma_i| \le \min\{(\sum_k \|E_k\|_2^2)^{1/2},\ \Delta/\sigma_i\}` with
    :math:`\Delta = \sum_k (2\|A_k\|_2\|E_k\|_2 + \|E_k\|_2^2)`.

    Parameters
    ----------
    block_norms, perturbation_norms : array-like of shape (p,)
        Spectral norms of the blocks and of their perturbations (or upper bounds).
    singular_values : array-like of shape (n,)
        Singular values of the unperturbed concatenation.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError
        If norms are negative or of different lengths.

    Notes
    -----
    Shape of the statement: Shamrai, arXiv:2505.01427; formulas reconstructed by us.

    Examples
    --------
    >>> perturbation_bound([1.0, 1.0], [0.1, 0.1], [1.4, 0.0]).round(4)
    array([0.1414, 0.1414])
    """
    norms, noise, sigma = (
        np.atleast_1d(np.asarray(x, float)) for x in (block_norms, perturbation_norms, singular_values)
    )
    if norms.shape != noise.shape:
        raise ValueError(
            f"block_norms and perturbation_norms must have one length; got {norms.shape} and {noise.shape}"
        )
    for name, values in (("block_norms", norms), ("perturbation_norms", noise), ("singular_values", sigma)):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError(f"{name} must be finite and not negative; got {values!r}")
    # In units of the largest number, whose square may leave the range of float64.
    unit = max(x.max(initial=0.0) for x in (norms, noise, sigma)) or 1.0
    norms, noise, sigma = norms / unit, noise / unit, sigma / unit
    plain = np.sqrt(np.sum(noise**2))
    delta = np.sum(2 * norms * noise + noise**2)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = np.where(sigma > 0, delta / sigma, np.sqrt(delta))
    return np.minimum(plain, relative) * unit
