"""By how much one record can move the moments that its user releases, and the Gaussian noise that hides it."""

import math
from dataclasses import dataclass

from sparsetheory.constraints import MISSING, NONNEGATIVE, POSITIVE, Real

__all__ = [
    "MomentNoise",
    "cross_moment_sensitivity",
    "joint_gaussian_mu",
    "joint_moment_noise",
    "second_moment_sensitivity",
]

_SPLIT = Real(0.0, 4.0, closed="right")
# A dozen roundings, all on the private side.
_SPARE = 1e-14


@dataclass(frozen=True)
class MomentNoise:
    """Standard deviations of the Gaussian noise of two moments that are released together.

    Parameters
    ----------
    second_moment_std : float
        Of the diagonal of the symmetric noise of x x^T. Entries off the diagonal have this over the root of two.
    cross_moment_std : float
        Of every entry of the noise of x y.
    """

    second_moment_std: float
    cross_moment_std: float


def second_moment_sensitivity(clip_x: float) -> float:
    r"""Return the largest change of x x^T in the Frobenius norm: the root of two times the squared bound of x.

    Parameters
    ----------
    clip_x : float
        Bound r of the Euclidean norm of x.

    Returns
    -------
    float
        Largest :math:`\|xx^T - x'x'^T\|_F`, which orthogonal x and x' of norm r attain.

    Raises
    ------
    ValueError
        If the bound is not positive.

    Notes
    -----
    The square is :math:`s^4 + s'^4 - 2\langle x, x'\rangle^2 \le 2r^4`. The upper triangle alone changes no more, and
    as much for x and x' along two axes.

    Examples
    --------
    >>> round(second_moment_sensitivity(3.0), 6)
    12.727922
    """
    return math.sqrt(2) * POSITIVE.check("clip_x", clip_x) ** 2


def cross_moment_sensitivity(clip_x: float, clip_y: float) -> float:
    """Return the largest change of x y in the Euclidean norm: twice the product of the bounds.

    Parameters
    ----------
    clip_x : float
        Bound of the Euclidean norm of x. Where each of d features is clipped at c, it is c times the root of d.
    clip_y : float
        Bound of the absolute value of y.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a bound is not positive.

    Examples
    --------
    >>> cross_moment_sensitivity(3.0, 2.0)
    12.0
    """
    return 2 * POSITIVE.check("clip_x", clip_x) * POSITIVE.check("clip_y", clip_y)


def joint_gaussian_mu(clip_x: float, clip_y: float, *, second_moment_std: float, cross_moment_std: float) -> float:
    r"""Return mu of x x^T and x y, released together with Gaussian noise: the exact worst case over two records.

    Parameters
    ----------
    clip_x : float
        Bound r of the Euclidean norm of x.
    clip_y : float
        Bound t of the absolute value of y.
    second_moment_std : float
        Standard deviation of the noise on the diagonal of x x^T; off the diagonal it is this over the root of two.
    cross_moment_std : float
        Standard deviation of the noise of x y.

    Returns
    -------
    float
        The smallest mu that holds for all pairs of records. With one feature it holds too, but a smaller one may.

    Raises
    ------
    ValueError
        If an argument is not positive.

    Notes
    -----
    Derived here. Write s and s' for the norms, :math:`c \ge 0` for the absolute cosine, A and B for one over the
    variances of the two noises. The square of mu is the maximum of
    :math:`A\|xx^T - x'x'^T\|_F^2 + B\|xy - x'y'\|^2`. The second term is convex in y and in y', so both are at
    :math:`\pm t`, with signs that make :math:`-yy'\langle x, x'\rangle` positive. What remains to be maximised is

    .. math:: A(s^4 + s'^4 - 2 s^2 s'^2 c^2) + B t^2 (s^2 + s'^2 + 2 s s' c).

    Let s be the larger norm: the derivative in s, :math:`4As(s^2 - s'^2c^2) + 2Bt^2(s + s'c)`, is not negative, so
    s = r. Now maximise over c first, at :math:`c^* = Bt^2 / (2Ars')` or at 1 if this is more. In the first case
    :math:`A(r^4 + s'^4) + Bt^2(r^2 + s'^2) + B^2t^4/(2A)` is left, which rises in s'. In the second case
    :math:`A(r^2 - s'^2)^2 + Bt^2(r + s')^2` has the derivative :math:`2(r + s')(Bt^2 - 2As'(r - s'))`, which is
    positive, because :math:`Bt^2 > 2Ars'`. So s' = r. With the squares :math:`a = 2r^4A` and :math:`b = 4r^2t^2B` of
    mu of either moment alone,

    .. math:: \mu^2 = a\,(1 + b/(4a))^2 \text{ at } c^* = b/(4a) \text{ if } b \le 4a, \text{ else } b.

    That is less than a + b: a record cannot be orthogonal to another one and opposite to it as well.

    Examples
    --------
    Two moments of mu one each, together: 1.25 instead of the root of two.

    >>> round(joint_gaussian_mu(1.0, 1.0, second_moment_std=2**0.5, cross_moment_std=2.0), 12)
    1.25
    """
    second = second_moment_sensitivity(clip_x) / POSITIVE.check("second_moment_std", second_moment_std)
    cross = cross_moment_sensitivity(clip_x, clip_y) / POSITIVE.check("cross_moment_std", cross_moment_std)
    return second * _growth((cross / second) ** 2)


def joint_moment_noise(
    mu: float, clip_x: float, clip_y: float, *, norm_bound: float = 1.0, split: float | None = None
) -> MomentNoise:
    r"""Return the noise with which x x^T and x y, released together, have a given mu.

    Parameters
    ----------
    mu : float
        Privacy of the two moments together.
    clip_x, clip_y : float
        Bounds of the Euclidean norm of x and of the absolute value of y.
    norm_bound : float
        Bound C of the Euclidean norm of the coefficients, for which the noise is divided best.
    split : float, optional
        Square of mu of x y alone over that of x x^T alone, in (0, 4]; the best one for `norm_bound` by default.
        Beyond 4 both noises would grow.

    Returns
    -------
    MomentNoise

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Estimates use the moments through :math:`b - A\theta`. For :math:`\|\theta\| \le C` the noise of each of its
    entries has, on average over the entries, at most the variance :math:`\sigma_b^2 + \sigma_A^2 C^2 (1 + 1/d)/2`. With
    the split q, mu fixes :math:`\sigma_A^2 = 2r^4(1 + q/4)^2/\mu^2` and
    :math:`\sigma_b^2 = 4r^2t^2(1 + q/4)^2/(q\mu^2)`. Without the 1/d this variance is proportional to
    :math:`(1 + q/4)^2(K + 1/q)`, where :math:`K = r^2C^2/(4t^2)`. Its derivative vanishes where
    :math:`2Kq^2 + q = 4`: at :math:`q = 8/(1 + \sqrt{1 + 32K})`.

    Examples
    --------
    >>> noise = joint_moment_noise(0.2367, 12.5, 3.354)
    >>> print(f"{noise.second_moment_std:.1f} {noise.cross_moment_std:.1f}")
    1094.7 499.9
    """
    mu, norm_bound = POSITIVE.check("mu", mu), NONNEGATIVE.check("norm_bound", norm_bound)
    second, cross = second_moment_sensitivity(clip_x), cross_moment_sensitivity(clip_x, clip_y)
    best = 8 / (1 + math.sqrt(1 + 32 * (clip_x * norm_bound / (2 * clip_y)) ** 2))
    split = (MISSING | _SPLIT).check("split", split)
    share = best if split is None else split
    growth = _growth(share) * (1 + _SPARE)
    return MomentNoise(second * growth / mu, cross * growth / (mu * math.sqrt(share)))


def _growth(ratio: float) -> float:
    """Return mu of both moments over that of x x^T alone, for the ratio b / a of their squares."""
    return 1 + ratio / 4 if ratio <= 4 else math.sqrt(ratio)
