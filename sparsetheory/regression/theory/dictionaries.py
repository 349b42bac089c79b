"""What a signal of small l1 norm in a dictionary allows greedy methods, and what l1 norm a signal needs."""

import math

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import finite_array
from sparsetheory.constraints import COUNT, NONNEGATIVE, SIZE

__all__ = ["atomic_norm_bound", "atomic_norm_certificate", "greedy_bound", "greedy_excess"]


def greedy_bound(l1: float, t: int) -> float:
    r"""Bound the residual of t greedy steps on a noiseless signal.

    For unit-norm columns and :math:`f = Vz`, orthogonal matching pursuit and forward selection have
    :math:`\|r_t\| \le \|z\|_1 / \sqrt{t + 1}`.

    Parameters
    ----------
    l1 : float
        :math:`\|z\|_1`.
    t : int
        Steps.

    Returns
    -------
    float

    Notes
    -----
    DeVore and Temlyakov (1996). Proof. :math:`\|r\|^2 = \langle r, f \rangle \le \|z\|_1 \max_i |v_i^\top r|`, so that
    a step multiplies :math:`\|r\|^2` by at most :math:`1 - \|r\|^2/\|z\|_1^2`, and :math:`\|r_0\| \le \|z\|_1`.

    Examples
    --------
    >>> greedy_bound(6.0, 8)
    2.0
    """
    NONNEGATIVE.require(l1=l1)
    SIZE.check("t", t)
    return l1 / math.sqrt(t + 1)


def greedy_excess(l1: float, t: int) -> float:
    r"""Bound what t greedy steps lose against any combination of columns, on any data.

    For unit-norm columns, every y and every z, orthogonal matching pursuit and forward selection have
    :math:`\|r_t\|^2 \le \|y - Vz\|^2 + 4\|z\|_1^2 / t`.

    Parameters
    ----------
    l1 : float
        :math:`\|z\|_1`.
    t : int
        Steps, at least 1.

    Returns
    -------
    float

    Notes
    -----
    Barron, Cohen, Dahmen and DeVore (2008).

    Examples
    --------
    >>> greedy_excess(3.0, 9)
    4.0
    """
    NONNEGATIVE.require(l1=l1)
    COUNT.require(t=t)
    return 4 * l1**2 / t


def atomic_norm_bound(k: int, M: int) -> float:
    r"""Return an atomic norm that no dictionary of M unit vectors avoids on any support of size k.

    For X with orthonormal columns, every support of size k and every dictionary of M unit vectors, some unit signal
    on the support needs an l1 norm of at least :math:`\sqrt{(k - 1/2) / (2 \log 2M)}` in the dictionary. The
    compatibility k of random anchors is thus within :math:`\sqrt k` and a logarithm of the best.

    Parameters
    ----------
    k : int
        Size of the support.
    M : int
        Number of vectors in the dictionary.

    Returns
    -------
    float

    Notes
    -----
    Provenance: ours. Proof. Let g be Gaussian, x the normalised part of g on the support, and c the value returned.
    By :func:`atomic_norm_certificate` with u = g, the atomic norm of x is at least
    :math:`\|g_S\| / \max_v |\langle v, g \rangle|`. The mean of the numerator is at least :math:`\sqrt{k - 1/2}`
    (Watson's inequality for the gamma function), that of the denominator at most :math:`\sqrt{2 \log 2M}`. So numerator
    - c denominator is not negative on average, hence for some g.

    Examples
    --------
    >>> round(atomic_norm_bound(80, 800), 3)
    2.321
    """
    COUNT.require(k=k, M=M)
    return math.sqrt((k - 0.5) / (2 * math.log(2 * M)))


def atomic_norm_certificate(dictionary: ArrayLike, x: ArrayLike, u: ArrayLike) -> float:
    r"""Bound from below the l1 norm that a vector needs in a dictionary, by one dual vector.

    :math:`\min\{\|z\|_1 : Vz = x\} \ge |\langle u, x \rangle| / \max_j |\langle v_j, u \rangle|` for every u.

    Parameters
    ----------
    dictionary : array-like of shape (n, n_atoms)
        Columns :math:`v_j`, of any length.
    x, u : array-like of shape (n,)
        The vector, and the dual vector.

    Returns
    -------
    float
        Infinite if u is orthogonal to the dictionary and not to x, which then has no representation; 0 if u is
        orthogonal to both.

    Raises
    ------
    ValueError
        If shapes do not match or values are not finite.

    Notes
    -----
    Weak duality of linear programming: :math:`\langle u, Vz \rangle \le \|V^\top u\|_\infty \|z\|_1`.

    Examples
    --------
    >>> import numpy as np
    >>> atomic_norm_certificate(np.eye(4), np.ones(4) / 2, np.ones(4))
    2.0
    """
    V = finite_array("dictionary", dictionary, 2).astype(np.float64)
    x, u = (finite_array(name, vector).astype(np.float64) for name, vector in (("x", x), ("u", u)))
    if x.shape != V.shape[:1] or u.shape != V.shape[:1]:
        raise ValueError(f"x and u must have the length of the columns, got {x.shape}, {u.shape} and {V.shape}")
    product, largest = abs(float(u @ x)), float(np.abs(V.T @ u).max(initial=0.0))
    if largest == 0:
        return math.inf if product > 0 else 0.0
    return product / largest
