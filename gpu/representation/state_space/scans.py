"""Linear recurrences over whole sequences, in logarithmically many steps."""

from torch import Tensor, stack
from torch.nn.functional import pad

__all__ = ["delayed", "matrix_scan", "scalar_scan", "with_first"]


def matrix_scan(values: Tensor, matrix: Tensor) -> Tensor:
    """Return ``z_t = matrix z_{t-1} + values_t`` from ``z_0 = 0``.

    Parameters
    ----------
    values : Tensor of shape (..., T, k)
    matrix : Tensor of shape (..., k, k)

    Returns
    -------
    Tensor of shape (..., T, k)

    Notes
    -----
    Odd-even reduction: two steps are one step of the squared matrix, so the recurrence of every other state is one of
    half the length; the states between follow at once. O(T k^2) operations in O(log T) products. A loop makes T small
    products, and its gradient T more. Doubling the reach of all states needs log T times the operations.

    References
    ----------
    G. E. Blelloch, "Prefix Sums and Their Applications", CMU-CS-90-190, 1990.
    """
    length = values.shape[-2]
    if length < 2:
        return values
    even, odd = values[..., 0::2, :], values[..., 1::2, :]
    later = matrix_scan(odd + even[..., : odd.shape[-2], :] @ matrix.mT, matrix @ matrix)
    return _woven(even + delayed(later, even.shape[-2]) @ matrix.mT, later, length)


def scalar_scan(values: Tensor, factor: Tensor) -> Tensor:
    """Return ``z_t = factor z_{t-1} + values_t`` from ``z_0 = 0``, as :func:`matrix_scan` does.

    Parameters
    ----------
    values : Tensor of shape (..., T, k)
    factor : Tensor of shape (...)
    """
    length = values.shape[-2]
    if length < 2:
        return values
    even, odd = values[..., 0::2, :], values[..., 1::2, :]
    wide = factor[..., None, None]
    later = scalar_scan(odd + wide * even[..., : odd.shape[-2], :], factor * factor)
    return _woven(even + wide * delayed(later, even.shape[-2]), later, length)


def with_first(values: Tensor, first: Tensor) -> Tensor:
    """Return values of shape (..., T, k) with `first`, of shape (..., k), added to the first of them."""
    return values + pad(first[..., None, :], (0, 0, 0, values.shape[-2] - 1)) if values.shape[-2] else values


def delayed(values: Tensor, length: int) -> Tensor:
    """Return zero and then the values, cut to a length."""
    return pad(values, (0, 0, 1, 0))[..., :length, :]


def _woven(even: Tensor, odd: Tensor, length: int) -> Tensor:
    if odd.shape[-2] < even.shape[-2]:
        odd = pad(odd, (0, 0, 0, 1))
    return stack([even, odd], -2).flatten(-3, -2)[..., :length, :]
