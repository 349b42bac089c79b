"""One-bit coordinate sampling: a public coordinate, and one bit about it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.arrays import finite_array
from sparsetheory.constraints import POSITIVE
from sparsetheory.numba_kernels.privacy import directions as kernels
from sparsetheory.privacy.device.coin import Coin, private_signs
from sparsetheory.privacy.randomizers.expansion import public_key, user_numbers
from sparsetheory.privacy.randomizers.scales import EPS, keep_factor
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["choices", "onebit_decode", "onebit_encode"]


def onebit_encode(
    V: ArrayLike,
    radius: float,
    eps: float,
    *,
    public_seed: int = 0,
    user_ids: ArrayLike | None = None,
    coin: Coin | None = None,
) -> NDArray[np.int8]:
    r"""Return one private bit about one public coordinate of every vector.

    The bit is +1 with probability :math:`1/2 + \tanh(\varepsilon / 2)\, v_j / (2R)`, with j uniform and public.

    Parameters
    ----------
    V : array-like of shape (n_samples, n_features)
        One vector for every user.
    radius : float
        Bound R of the absolute values of all entries. A larger one is sent with a bias, and as privately as others.
    eps : float
        Privacy parameter, in [1e-9, 20].
    public_seed, user_ids, coin
        As in :func:`sphere_encode`.

    Returns
    -------
    ndarray of int8, of shape (n_samples,)
        Signs +1 and -1.

    See Also
    --------
    onebit_decode : The messages that these bits stand for.

    Notes
    -----
    Second moments of messages are :math:`d R^2 \coth^2(\varepsilon / 2)` for each of d coordinates: less than those of
    the sphere mechanism on the ball of radius :math:`\sqrt d R` around the same cube, by a factor that tends to pi / 2.
    Best for bounded data, such as answers of yes and no. Takes constant time a user.

    Examples
    --------
    >>> import numpy as np
    >>> v = np.tile([0.5, -1.0], (20000, 1))
    >>> bits = onebit_encode(v, 1.0, 2.0)
    >>> bool(np.abs(onebit_decode(bits, 2, 1.0, 2.0).mean(axis=0) - v[0]).max() < 0.1)
    True
    """
    rows = finite_array("V", V, ndim=2)
    POSITIVE.require(radius=radius)
    EPS.require(eps=eps)
    users = user_numbers(user_ids, len(rows))
    chosen = choices(public_seed, users, 0, 0, rows.shape[1])
    agreement = 0.5 + rows[np.arange(len(rows)), chosen].astype(np.float64) / (2 * radius)
    return private_signs(np.ones(len(rows), dtype=np.int8), agreement, eps, coin)


def choices(public_seed: int, users: NDArray[np.uint64], cross_words: int, n_second: int, n_cross: int) -> Int64Array:
    """Return the public coordinate of every user, among `n_second` coordinates and `n_cross` further ones.

    Of 2^64 first public words, `cross_words` choose the further ones.
    """
    chosen = np.empty(len(users), dtype=np.int64)
    kernels.product_choices(public_key(public_seed), users, np.uint64(cross_words), n_second, n_cross, chosen)
    return chosen


def onebit_decode(
    signs: NDArray[np.int8],
    n_features: int,
    radius: float,
    eps: float,
    *,
    public_seed: int = 0,
    user_ids: ArrayLike | None = None,
) -> Float64Array:
    """Return the messages of one-bit coordinate sampling, whose mean is the vector that was sent.

    Parameters
    ----------
    signs : ndarray of int8, of shape (n_samples,)
        Bits of :func:`onebit_encode`.
    n_features : int
        Length of the vectors.
    radius, eps, public_seed, user_ids
        As in :func:`onebit_encode`.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        One non-zero in every row.

    Examples
    --------
    >>> import numpy as np
    >>> z = onebit_decode(np.array([1, -1], dtype=np.int8), 3, 1.0, 1.0)
    >>> np.count_nonzero(z, axis=1).tolist()
    [1, 1]
    """
    POSITIVE.require(radius=radius)
    messages = np.zeros((len(signs), n_features))
    chosen = choices(public_seed, user_numbers(user_ids, len(signs)), 0, 0, n_features)
    messages[np.arange(len(signs)), chosen] = n_features * radius * keep_factor(eps) * signs
    return messages
