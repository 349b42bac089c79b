"""Bounds on the prediction error of anchors plus Lasso, and of refitted anchors on Gaussian rows."""

import math

from sparsetheory.constraints import COUNT, FINITE, FRACTION, NONNEGATIVE, SIZE
from sparsetheory.regression.theory.supports import required_anchors

__all__ = ["gaussian_excess", "l1_error_bound", "prediction_bound", "required_samples", "universal_alpha"]


def universal_alpha(sigma: float, N: int, d: int, delta: float) -> float:
    r"""Return the penalty that exceeds the noise in d columns with probability 1 - delta.

    With :math:`\|v_i\|_N \le 1` and Gaussian noise of standard deviation sigma, :math:`\max_i |v_i^\top \xi| / N \le
    \sigma \sqrt{2 \log(2d/\delta) / N}` with probability at least 1 - delta.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise.
    N, d : int
        Rows and columns.
    delta : float
        Probability of failure, in (0, 1).

    Returns
    -------
    float

    Notes
    -----
    Classical: the tail of 2d Gaussian variables.

    Examples
    --------
    >>> round(universal_alpha(1.0, 200, 1000, 0.1), 4)
    0.3147
    """
    NONNEGATIVE.require(sigma=sigma)
    COUNT.require(N=N, d=d)
    FRACTION.check("delta", delta)
    return sigma * math.sqrt(2 * math.log(2 * d / delta) / N)


def l1_error_bound(alpha: float, l1: float, gap: float = 0.0) -> float:
    r"""Bound the error of an approximate Lasso fit by the l1 norm of the truth.

    For :math:`y = V z^* + \xi` and :math:`\lambda \ge \|V^\top \xi\|_\infty / N`, every z whose objective
    :math:`\frac{1}{2N} \|y - Vz\|^2 + \lambda \|z\|_1` is within `gap` of the optimum has
    :math:`\|V(z - z^*)\|_N^2 \le (\sqrt{2 \lambda \|z^*\|_1} + \sqrt{2\,gap})^2`.

    Parameters
    ----------
    alpha : float
        Penalty.
    l1 : float
        :math:`\|z^*\|_1`.
    gap : float
        Duality gap of the solver.

    Returns
    -------
    float

    Notes
    -----
    Provenance: the constant 2 in place of the usual 4 is ours. Proof. The objective grows by at least
    :math:`\frac12 \|V(z - \hat z)\|_N^2` away from its minimiser :math:`\hat z`. At :math:`z^*` this and the definition
    of the objective give :math:`\|V(\hat z - z^*)\|_N^2 \le \xi^\top V(\hat z - z^*)/N + \lambda(\|z^*\|_1 -
    \|\hat z\|_1) \le 2\lambda \|z^*\|_1`; at z they give :math:`\|V(z - \hat z)\|_N^2 \le 2\,gap`.

    Examples
    --------
    >>> l1_error_bound(0.1, 5.0)
    1.0
    """
    NONNEGATIVE.require(alpha=alpha, l1=l1, gap=gap)
    return float(2 * alpha * l1 + 4 * math.sqrt(alpha * l1 * gap) + 2 * gap)


def prediction_bound(
    N: int, d: int, m: int, compatibility: float, B: float, sigma: float, delta: float, t: float
) -> float:
    r"""Bound the in-sample error of the Lasso on what m anchors leave.

    With Gaussian noise and :math:`\lambda` of :func:`universal_alpha`, with probability at least
    :math:`1 - \delta - e^{-t}`: :math:`\|X(\hat w - w^*)\|_N^2 \le \sigma^2 (m + 2\sqrt{mt} + 2t)/N +
    2 \lambda \alpha B`.

    Parameters
    ----------
    N, d : int
        Rows and columns.
    m : int
        Rank of the anchors.
    compatibility : float
        Bound on the compatibility of the support: k, or what a certificate says.
    B : float
        Size of the signal, :math:`\|X w^*\|_N`.
    sigma : float
        Standard deviation of the noise.
    delta : float
        Probability that the penalty is too small, in (0, 1).
    t : float
        Deviation of the noise in the span of the anchors, at least 0.

    Returns
    -------
    float

    Notes
    -----
    Provenance: ours; it does not contain the condition number of X. Proof. By Pythagoras the error is the noise in
    the span of the anchors, :math:`\sigma^2 \chi^2_m / N` with the tail of Laurent and Massart (2000), plus the error
    off it, which :func:`l1_error_bound` bounds with :math:`\|z^*\|_1 \le \alpha B`.

    Examples
    --------
    >>> round(prediction_bound(300, 1000, 25, 6.0, 1.0, 0.1, 0.05, 3.0), 4)
    0.3206
    """
    NONNEGATIVE.require(compatibility=compatibility, B=B, t=t)
    SIZE.check("m", m)
    alpha = universal_alpha(sigma, N, d, delta)
    return _projected_noise(m, sigma, t) / N + l1_error_bound(alpha, compatibility * B)


def _projected_noise(m: int, sigma: float, t: float) -> float:
    """Bound the squared norm of the noise in m dimensions with probability 1 - exp(-t)."""
    return sigma**2 * (m + 2 * math.sqrt(m * t) + 2 * t)


def required_samples(k: int, d: int, B: float, sigma: float, eps: float, delta: float) -> int:
    r"""Return a number of rows at which random anchors and the Lasso reach error eps.

    With probability at least :math:`1 - \delta` over support, anchors and noise, :math:`\|X(\hat w - w^*)\|_N^2 \le
    \epsilon` once :math:`N \ge \max\{2\sigma^2(m + 2\sqrt{mt} + 2t)/\epsilon,\ 16 \sigma^2 k^2 B^2 \cdot
    2\log(6d/\delta)/\epsilon^2\}`, with m the smaller of d and :func:`required_anchors` at :math:`\delta/3`, and
    :math:`t = \log(3/\delta)`.

    Parameters
    ----------
    k : int
        Size of the support, at most d.
    d : int
        Columns.
    B : float
        Size of the signal, :math:`\|X w^*\|_N`.
    sigma : float
        Standard deviation of the noise.
    eps : float
        Accepted error, positive.
    delta : float
        Probability of failure, in (0, 1), shared equally by anchors, penalty and noise.

    Returns
    -------
    int
        At least 1.

    Notes
    -----
    Provenance: ours. Proof: each of the two terms of :func:`prediction_bound` at compatibility = k is at most eps/2.
    The dependence on B and on :math:`1/\epsilon^2` is that of this proof; whether it is needed is not known.

    Examples
    --------
    >>> required_samples(2, 100, B=1.0, sigma=0.1, eps=0.1, delta=0.3)
    973
    """
    COUNT.require(k=k, d=d)
    NONNEGATIVE.require(B=B, sigma=sigma)
    FRACTION.check("delta", delta)
    if k > d:
        raise ValueError(f"k must be at most d={d}, got {k}")
    if not (FINITE.accepts(eps) and eps > 0):
        raise ValueError(f"eps must be positive and finite, got {eps!r}")
    share = delta / 3
    m = min(d, required_anchors(k, share))
    for_anchors = 2 * _projected_noise(m, sigma, math.log(1 / share)) / eps
    for_lasso = (4 * k * B * universal_alpha(sigma, 1, d, share) / eps) ** 2
    return max(1, math.ceil(max(for_anchors, for_lasso)))


def gaussian_excess(s2: float, sigma: float, m: int, N: int) -> float:
    r"""Return the expected excess risk of refitting the anchors on Gaussian rows, exactly.

    Rows are :math:`N(0, \Sigma)`. The error :math:`\Delta` off the anchors is a function of the data with the anchors
    projected out, the anchors are refitted by least squares, and :math:`s^2 = \Delta^\top \Sigma_{\cdot|T} \Delta` in
    the Schur complement. Then :math:`E[(\hat w - w^*)^\top \Sigma (\hat w - w^*) \mid \Delta] = s^2 + (\sigma^2 + s^2)
    \frac{m}{N - m - 1}`.

    Parameters
    ----------
    s2 : float
        :math:`s^2`.
    sigma : float
        Standard deviation of the noise.
    m : int
        Number of anchors.
    N : int
        Rows, more than m + 1.

    Returns
    -------
    float

    Notes
    -----
    Provenance: ours. Proof. :math:`X_{\cdot} = X_T \Gamma + E` with E independent of :math:`X_T`. Given
    :math:`X_T`, the parts of E and of the noise inside its span are independent of those outside, hence of
    :math:`\Delta`. The refit is least squares with independent noise of variance :math:`\sigma^2 + s^2`, and the mean
    of an inverse Wishart matrix is classical.

    Examples
    --------
    >>> gaussian_excess(0.5, 1.0, m=10, N=31)
    1.25
    """
    NONNEGATIVE.require(s2=s2, sigma=sigma)
    SIZE.check("m", m)
    COUNT.require(N=N)
    if m + 1 >= N:
        raise ValueError(f"N must be more than m + 1 = {m + 1}, got {N}")
    return float(s2 + (sigma**2 + s2) * m / (N - m - 1))
