"""Bounds on the prediction error of anchors plus Lasso, and of refitted anchors on Gaussian rows."""

import math

from sparsetheory.constraints import COUNT, FRACTION, NONNEGATIVE, POSITIVE, SIZE
from sparsetheory.regression.theory.supports import required_anchors

__all__ = ["gaussian_excess", "l1_error_bound", "prediction_bound", "required_samples", "universal_alpha"]


def universal_alpha(noise_std: float, n_samples: int, n_features: int, delta: float) -> float:
    r"""Return the penalty that exceeds the noise in d columns with probability 1 - delta.

    With :math:`\|v_i\|_N \le 1` and Gaussian noise of standard deviation sigma, :math:`\max_i |v_i^\top \xi| / N \le
    \sigma \sqrt{2 \log(2d/\delta) / N}` with probability at least 1 - delta.

    Parameters
    ----------
    noise_std : float
        Standard deviation :math:`\sigma` of the noise.
    n_samples, n_features : int
        Numbers N of rows and d of columns.
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
    NONNEGATIVE.require(noise_std=noise_std)
    COUNT.require(n_samples=n_samples, n_features=n_features)
    FRACTION.check("delta", delta)
    return noise_std * math.sqrt(2 * math.log(2 * n_features / delta) / n_samples)


def l1_error_bound(alpha: float, l1_norm: float, gap: float = 0.0) -> float:
    r"""Bound the error of an approximate Lasso fit by the l1 norm of the truth.

    For :math:`y = V z^* + \xi` and :math:`\lambda \ge \|V^\top \xi\|_\infty / N`, every z whose objective
    :math:`\frac{1}{2N} \|y - Vz\|^2 + \lambda \|z\|_1` is within `gap` of the optimum has
    :math:`\|V(z - z^*)\|_N^2 \le (\sqrt{2 \lambda \|z^*\|_1} + \sqrt{2\,gap})^2`.

    Parameters
    ----------
    alpha : float
        Strength :math:`\lambda` of the penalty.
    l1_norm : float
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
    NONNEGATIVE.require(alpha=alpha, l1_norm=l1_norm, gap=gap)
    return float(2 * alpha * l1_norm + 4 * math.sqrt(alpha * l1_norm * gap) + 2 * gap)


def prediction_bound(
    *,
    n_samples: int,
    n_features: int,
    n_anchors: int,
    max_compatibility: float,
    signal_size: float,
    noise_std: float,
    delta: float,
    deviation: float,
) -> float:
    r"""Bound the in-sample error of the Lasso on what m anchors leave.

    With Gaussian noise and :math:`\lambda` of :func:`universal_alpha`, with probability at least
    :math:`1 - \delta - e^{-t}`: :math:`\|X(\hat w - w^*)\|_N^2 \le \sigma^2 (m + 2\sqrt{mt} + 2t)/N +
    2 \lambda \alpha B`.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers N of rows and d of columns.
    n_anchors : int
        Rank m of the anchors.
    max_compatibility : float
        Bound :math:`\alpha` on the compatibility of the support: k, or what a certificate says.
    signal_size : float
        Size :math:`B = \|X w^*\|_N` of the signal.
    noise_std : float
        Standard deviation :math:`\sigma` of the noise.
    delta : float
        Probability that the penalty is too small, in (0, 1).
    deviation : float
        Number t that sets the deviation of the noise in the span of the anchors, at least 0.

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
    >>> bound = prediction_bound(
    ...     n_samples=300, n_features=1000, n_anchors=25, max_compatibility=6.0, signal_size=1.0, noise_std=0.1,
    ...     delta=0.05, deviation=3.0,
    ... )
    >>> round(bound, 4)
    0.3206
    """
    NONNEGATIVE.require(max_compatibility=max_compatibility, signal_size=signal_size, deviation=deviation)
    SIZE.check("n_anchors", n_anchors)
    alpha = universal_alpha(noise_std, n_samples, n_features, delta)
    return _projected_noise(n_anchors, noise_std, deviation) / n_samples + l1_error_bound(
        alpha, max_compatibility * signal_size
    )


def _projected_noise(n_anchors: int, noise_std: float, deviation: float) -> float:
    """Bound the squared norm of the noise in m dimensions with probability 1 - exp(-t)."""
    return noise_std**2 * (n_anchors + 2 * math.sqrt(n_anchors * deviation) + 2 * deviation)


def required_samples(
    *, n_nonzero: int, n_features: int, signal_size: float, noise_std: float, accuracy: float, delta: float
) -> int:
    r"""Return a number of rows at which random anchors and the Lasso reach a given error.

    With probability at least :math:`1 - \delta` over support, anchors and noise, :math:`\|X(\hat w - w^*)\|_N^2 \le
    \epsilon` once :math:`N \ge \max\{2\sigma^2(m + 2\sqrt{mt} + 2t)/\epsilon,\ 16 \sigma^2 k^2 B^2 \cdot
    2\log(6d/\delta)/\epsilon^2\}`, with m the smaller of d and :func:`required_anchors` at :math:`\delta/3`, and
    :math:`t = \log(3/\delta)`.

    Parameters
    ----------
    n_nonzero : int
        Size k of the support, at most d.
    n_features : int
        Number d of columns.
    signal_size : float
        Size :math:`B = \|X w^*\|_N` of the signal.
    noise_std : float
        Standard deviation :math:`\sigma` of the noise.
    accuracy : float
        Accepted error :math:`\epsilon`, positive.
    delta : float
        Probability of failure, in (0, 1), shared equally by anchors, penalty and noise.

    Returns
    -------
    int
        At least 1.

    Notes
    -----
    Provenance: ours. Proof: each of the two terms of :func:`prediction_bound` at compatibility = k is at most
    :math:`\epsilon/2`.
    The dependence on B and on :math:`1/\epsilon^2` is that of this proof; whether it is needed is not known.

    Examples
    --------
    >>> required_samples(n_nonzero=2, n_features=100, signal_size=1.0, noise_std=0.1, accuracy=0.1, delta=0.3)
    973
    """
    COUNT.require(n_nonzero=n_nonzero, n_features=n_features)
    NONNEGATIVE.require(signal_size=signal_size, noise_std=noise_std)
    FRACTION.check("delta", delta)
    if n_nonzero > n_features:
        raise ValueError(f"n_nonzero must be at most n_features={n_features}; got {n_nonzero}")
    POSITIVE.check("accuracy", accuracy)
    third = delta / 3
    n_anchors = min(n_features, required_anchors(n_nonzero, third))
    for_anchors = 2 * _projected_noise(n_anchors, noise_std, math.log(1 / third)) / accuracy
    for_lasso = (4 * n_nonzero * signal_size * universal_alpha(noise_std, 1, n_features, third) / accuracy) ** 2
    return max(1, math.ceil(max(for_anchors, for_lasso)))


def gaussian_excess(outside_excess: float, noise_std: float, n_anchors: int, n_samples: int) -> float:
    r"""Return the expected excess risk of refitting the anchors on Gaussian rows, exactly.

    Rows are :math:`N(0, \Sigma)`. The error :math:`\Delta` off the anchors is a function of the data with the anchors
    projected out, the anchors are refitted by least squares, and :math:`s^2 = \Delta^\top \Sigma_{\cdot|T} \Delta` in
    the Schur complement. Then :math:`E[(\hat w - w^*)^\top \Sigma (\hat w - w^*) \mid \Delta] = s^2 + (\sigma^2 + s^2)
    \frac{m}{N - m - 1}`.

    Parameters
    ----------
    outside_excess : float
        Excess risk :math:`s^2` off the anchors.
    noise_std : float
        Standard deviation :math:`\sigma` of the noise.
    n_anchors : int
        Number m of anchors.
    n_samples : int
        Number N of rows, more than m + 1.

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
    >>> gaussian_excess(0.5, 1.0, n_anchors=10, n_samples=31)
    1.25
    """
    NONNEGATIVE.require(outside_excess=outside_excess, noise_std=noise_std)
    SIZE.check("n_anchors", n_anchors)
    COUNT.require(n_samples=n_samples)
    if n_anchors + 1 >= n_samples:
        raise ValueError(f"n_samples must be more than n_anchors + 1 = {n_anchors + 1}; got {n_samples}")
    return float(outside_excess + (noise_std**2 + outside_excess) * n_anchors / (n_samples - n_anchors - 1))
