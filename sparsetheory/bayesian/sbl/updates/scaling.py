"""The scale that factors of a Kronecker product can exchange, and the smallest factor worth keeping."""

from collections.abc import Sequence

import numpy as np
from scipy.linalg.blas import dnrm2

from sparsetheory.typing import Float64Array

__all__ = ["balanced", "floored"]


def balanced(variances: Sequence[Float64Array]) -> list[Float64Array]:
    """Give all factors but the last unit norm; the last takes the scale.

    Parameters
    ----------
    variances : sequence of ndarray of shape (N_i,)
        Not negative; one that is zero stays so.

    Returns
    -------
    list of ndarray
        With the same outer product.
    """
    # Squares of small variances underflow; this norm scales them.
    norms = [dnrm2(gamma) for gamma in variances[:-1]]
    scaled = [gamma / (norm or 1.0) for gamma, norm in zip(variances, norms, strict=False)]
    last = variances[-1]
    for norm in norms:
        last = last * norm
    return [*scaled, last]


def floored(variances: Float64Array, n_modes: int) -> Float64Array:
    """Raise positive entries to a tiny fraction of the largest, so that no product of one per mode underflows.

    Parameters
    ----------
    variances : ndarray of shape (N_i,)
        Not negative.
    n_modes : int
        Number of factors; up to four that fraction is 1e-60.

    Returns
    -------
    ndarray
    """
    fraction = 10.0 ** (-240.0 / max(n_modes, 4))
    return np.maximum(variances, fraction * variances.max())
