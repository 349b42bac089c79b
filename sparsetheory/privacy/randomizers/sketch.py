"""The rank-one sketch: one bit that carries a whole matrix of second moments."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.arrays import finite_array
from sparsetheory.constraints import POSITIVE
from sparsetheory.numba_kernels.privacy import directions as kernels
from sparsetheory.privacy.device.coin import Coin, private_signs
from sparsetheory.privacy.device.quantised_normal import DIRECTION_BITS, normal_table
from sparsetheory.privacy.device.records import on_lattice, shortened
from sparsetheory.privacy.randomizers.expansion import direction_table, public_key, scratch, user_numbers
from sparsetheory.privacy.randomizers.scales import EPS, sketch_scale
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["sketch_encode", "sketch_moments", "sketch_signs", "sketch_sum"]

# Users in one matrix product. Sums of that many products of two odd integers below 2^15 stay below 2^53: exact.
_BLOCK = 1024


def sketch_encode(
    Z: ArrayLike,
    radius: float,
    eps: float,
    *,
    public_seed: int = 0,
    user_ids: ArrayLike | None = None,
    coin: Coin | None = None,
) -> NDArray[np.int8]:
    r"""Return one private bit for the matrix :math:`z z^T` of every user.

    With two public normal vectors g and h, the bit is the sign of :math:`\langle g, z \rangle \langle h, z \rangle`
    with probability :math:`1/2 + \tanh(\varepsilon / 2) \|z\|^2 / (2 R^2)`.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_features)
        One vector z for every user.
    radius : float
        Bound R of the Euclidean norms. A longer vector is sent with a bias, and as privately as others.
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
    sketch_moments : The estimate of the mean of :math:`z z^T`.

    Notes
    -----
    Ours. For a normal g the mean of :math:`\mathrm{sign}\langle g, z\rangle\, g` is :math:`\sqrt{2/\pi}\, z / \|z\|`.
    For independent g and h the product of the signs times :math:`g h^T` has the mean :math:`(2/\pi)\, z z^T / \|z\|^2`.
    A user needs O(n_features) time: 0.6 microseconds for 31 features.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.tile([0.6, -0.8], (50000, 1))
    >>> bits = sketch_encode(z, 1.0, 2.0)
    >>> bool(np.abs(sketch_moments(bits, 2, 1.0, 2.0) - np.outer(z[0], z[0])).max() < 0.1)
    True
    """
    POSITIVE.require(radius=radius)
    EPS.require(eps=eps)
    rows = shortened(finite_array("Z", Z, ndim=2).astype(np.float64), radius)
    return sketch_signs(rows, radius, eps, public_key(public_seed), user_numbers(user_ids, len(rows)), coin)


def sketch_signs(
    Z: Float64Array,
    radius: float,
    eps: float,
    key: tuple[np.uint64, np.uint64, np.uint64],
    users: NDArray[np.uint64],
    coin: Coin | None,
) -> NDArray[np.int8]:
    """Return the private signs of :func:`sketch_encode`, for vectors in the ball and arguments known to be right."""
    Z = np.ascontiguousarray(on_lattice(Z, radius))
    true = np.empty(len(Z), dtype=np.int8)
    kernels.sketch_signs(Z, key, users, direction_table(), *scratch(2 * Z.shape[1]), true)
    return private_signs(true, 0.5 + np.einsum("ij,ij->i", Z, Z) / (2 * radius**2), eps, coin)


def sketch_sum(
    signs: NDArray[np.int8], key: tuple[np.uint64, np.uint64, np.uint64], users: NDArray[np.uint64], out: Int64Array
) -> None:
    """Add all signed products ``s g h^T`` to `out`, as integers: the directions have the standard deviation 4096."""
    q = len(out)
    words, _ = scratch(2 * q)
    for start in range(0, len(users), _BLOCK):
        block = users[start : start + _BLOCK]
        normals = np.empty((len(block), 2 * q))
        kernels.public_normals(key, block, direction_table(), words, normals)
        signed = normals[:, :q] * signs[start : start + _BLOCK, None]
        out += (signed.T @ normals[:, q:]).astype(np.int64)


def sketch_moments(
    signs: NDArray[np.int8],
    n_features: int,
    radius: float,
    eps: float,
    *,
    public_seed: int = 0,
    user_ids: ArrayLike | None = None,
) -> Float64Array:
    r"""Return the estimate of the mean of :math:`z z^T`.

    Parameters
    ----------
    signs : ndarray of int8, of shape (n_samples,)
        Bits of :func:`sketch_encode`.
    n_features : int
        Length of the vectors z.
    radius, eps, public_seed, user_ids
        As in :func:`sketch_encode`.

    Returns
    -------
    ndarray of shape (n_features, n_features)
        Symmetric. The sums are integers, so the result is the same for every order of users.

    Examples
    --------
    >>> import numpy as np
    >>> signs = np.array([1, -1, 1], dtype=np.int8)
    >>> there = sketch_moments(signs, 4, 1.0, 1.0, user_ids=[5, 6, 7])
    >>> np.array_equal(there, sketch_moments(signs[::-1], 4, 1.0, 1.0, user_ids=[7, 6, 5]))
    True
    """
    total = np.zeros((n_features, n_features), dtype=np.int64)
    sketch_sum(signs, public_key(public_seed), user_numbers(user_ids, len(signs)), total)
    return sketch_scale(eps, radius) * symmetric_mean(total, len(signs))


def symmetric_mean(total: Int64Array, count: int) -> Float64Array:
    """Return the mean of ``s (g h^T + h g^T) / 2`` in units of the directions."""
    units = normal_table(*DIRECTION_BITS).units
    return (total + total.T) / (2.0 * units**2 * count)
