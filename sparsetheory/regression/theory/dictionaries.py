"""What a signal of small l1 norm in a dictionary allows greedy methods, and what l1 norm a signal needs."""

import math

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import finite_array
from sparsetheory.constraints import COUNT, NONNEGATIVE, SIZE

__all__ = ["atomic_norm_bound", "atomic_norm_certificate", "greedy_bound", "greedy_excess"]


def greedy_bound(l1_norm: float, n_steps: int) -> float:
    r"""Bound the residual of t greedy steps on a noiseless signal.

    For unit-norm columns and :math:`f = Vz`, orthogonal matching pursuit and forward selection have
    :math:`\|r_t\| \le \|z\|_1 / \sqrt{t + 1}`.

    Parameters
    ----------
    l1_norm : float
        :math:`\|z\|_1`.
    n_steps : int
        Number t of steps.

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
    NONNEGATIVE.require(l1_norm=l1_norm)
    SIZE.check("n_steps", n_steps)
    return l1_norm / math.sqrt(n_steps + 1)


def greedy_excess(l1_norm: float, n_steps: int) -> float:
    r"""Bound what t greedy steps lose against any combination of columns, on any data.

    For unit-norm columns, every y and every z, orthogonal matching pursuit and forward selection have
    :math:`\|r_t\|^2 \le \|y - Vz\|^2 + 4\|z\|_1^2 / t`.

    Parameters
    ----------
    l1_norm : float
        :math:`\|z\|_1`.
    n_steps : int
        Number t of steps, at least 1.

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
    NONNEGATIVE.require(l1_norm=l1_norm)
    COUNT.require(n_steps=n_steps)
    return 4 * l1_norm**2 / n_steps


def atomic_norm_bound(n_nonzero: int, n_atoms: int) -> float:
    r"""Return an atomic norm that no dictionary of M unit vectors avoids on any support of size k.

    For X with orthonormal columns, every support of size k and every dictionary of M unit vectors, some unit signal
    on the support needs an l1 norm of at least :math:`\sqrt{(k - 1/2) / (2 \log 2M)}` in the dictionary. The
    compatibility k of random anchors is thus within :math:`\sqrt k` and a logarithm of the best.

    Parameters
    ----------
    n_nonzero : int
        Size k of the support.
    n_atoms : int
        Number M of vectors in the dictionary.

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
    COUNT.require(n_nonzero=n_nonzero, n_atoms=n_atoms)
    return math.sqrt((n_nonzero - 0.5) / (2 * math.log(2 * n_atoms)))


def atomic_norm_certificate(dictionary: ArrayLike, signal: ArrayLike, dual_vector: ArrayLike) -> float:
    r"""Bound from below the l1 norm that a vector needs in a dictionary, by one dual vector.

    :math:`\min\{\|z\|_1 : Vz = x\} \ge |\langle u, x \rangle| / \max_j |\langle v_j, u \rangle|` for every u.

    Parameters
    ----------
    dictionary : array-like of shape (n, n_atoms)
        Columns :math:`v_j`, of any length.
    signal, dual_vector : array-like of shape (n,)
        The vector x, and the dual vector u.

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
    signal = finite_array("signal", signal).astype(np.float64)
    dual_vector = finite_array("dual_vector", dual_vector).astype(np.float64)
    if signal.shape != V.shape[:1] or dual_vector.shape != V.shape[:1]:
        raise ValueError(
            f"signal and dual_vector must have the length of the columns, {V.shape[0]}; got shapes {signal.shape} and "
            f"{dual_vector.shape}"
        )
    product, largest = abs(float(dual_vector @ signal)), float(np.abs(V.T @ dual_vector).max(initial=0.0))
    if largest == 0:
        return math.inf if product > 0 else 0.0
    return product / largest
