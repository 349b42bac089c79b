"""The hypercube mechanism: one bit for every entry of a vector in a cube."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.arrays import finite_array
from sparsetheory.constraints import POSITIVE
from sparsetheory.privacy.device.coin import Coin, keep_threshold, secret_words, uniforms
from sparsetheory.privacy.randomizers.scales import EPS

__all__ = ["cube_encode", "half_space_counts"]


def half_space_counts(n_features: int) -> tuple[int, int]:
    """Return how many sign vectors have a positive product with a given one, and how many do not.

    Parameters
    ----------
    n_features : int
        Length d. For even d there are ties, and they count among the others.

    Returns
    -------
    positive, others : int

    Examples
    --------
    >>> half_space_counts(3), half_space_counts(4)
    ((4, 4), (5, 11))
    """
    ties = 0 if n_features % 2 else math.comb(n_features, n_features // 2)
    positive = (2**n_features - ties) // 2
    return positive, 2**n_features - positive


def cube_encode(V: ArrayLike, radius: float, eps: float, *, coin: Coin | None = None) -> NDArray[np.int8]:
    r"""Return one private sign for every entry of every vector.

    Entries are rounded to :math:`\pm R` with the right mean, which gives a corner x of the cube. The message z is drawn
    among all corners; those with :math:`\langle z, x \rangle > 0` are e^eps times as probable as the others.

    Parameters
    ----------
    V : array-like of shape (n_samples, n_features)
        One vector for every user.
    radius : float
        Bound R of the absolute values of all entries. A larger one is sent with a bias, and as privately as others.
    eps : float
        Privacy parameter, in [1e-9, 20].
    coin : callable, optional
        Source of random words. The default is the operating system's generator, and only that is private.

    Returns
    -------
    ndarray of int8, of shape (n_samples, n_features)
        Signs; ``cube_scale(n_features, eps, radius)`` times their mean estimates the mean of the vectors.

    Notes
    -----
    Duchi, Jordan and Wainwright (2018), J. Amer. Statist. Assoc. 113. Ties of an even dimension belong to one of the
    two sets alone: were they in both, the largest ratio of probabilities would be 1 + e^eps. Corners are drawn until
    there is one of each set, and the coin chooses between the two. How long that takes depends neither on the data nor
    on the message, so that time betrays nothing; a search in one set alone would take longer for the smaller set.

    Examples
    --------
    >>> import numpy as np
    >>> v = np.tile([0.5, -1.0], (20000, 1))
    >>> from sparsetheory.privacy import cube_scale
    >>> bool(np.abs(cube_scale(2, 2.0) * cube_encode(v, 1.0, 2.0).mean(axis=0) - v[0]).max() < 0.1)
    True
    """
    rows = finite_array("V", V, ndim=2).astype(np.float64)
    POSITIVE.require(radius=radius)
    EPS.require(eps=eps)
    draw = secret_words if coin is None else coin
    n, d = rows.shape
    corners = np.where(uniforms(draw(n * d)).reshape(n, d) < 0.5 + rows / (2 * radius), 1, -1).astype(np.int8)
    positive = draw(n) < np.uint64(keep_threshold(eps, *half_space_counts(d)))
    inside, outside = _one_of_each(corners, draw)
    return np.where(positive[:, None], inside, outside)


def _one_of_each(corners: NDArray[np.int8], draw: Coin) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return uniform sign vectors with a positive product with each corner, and others without."""
    found = np.zeros((2, *corners.shape), dtype=np.int8)
    left = np.arange(len(corners))
    while left.size:
        signs = _random_signs(draw, left.size, corners.shape[1])
        sides = (np.einsum("ij,ij->i", signs, corners[left], dtype=np.int64) > 0).astype(np.intp)
        # A later vector of the same side replaces an earlier one; it is as random.
        found[sides, left] = signs
        left = left[(found[:, left] == 0).any(axis=(0, 2))]
    return found[1], found[0]


def _random_signs(draw: Coin, n: int, d: int) -> NDArray[np.int8]:
    width = (d + 63) // 64
    words = draw(n * width).astype("<u8").view(np.uint8)
    bits = np.unpackbits(words.reshape(n, 8 * width), axis=1, count=d)
    return 2 * bits.astype(np.int8) - 1
