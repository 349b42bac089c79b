"""What local privacy allows at best: rates, an explicit lower bound, and two constants behind proofs."""

import math
from dataclasses import dataclass
from typing import Literal

from sparsetheory.constraints import COUNT, Choice, Integer
from sparsetheory.privacy.accounting.composition import EPS

__all__ = ["Rate", "hard_threshold_nu", "information_contraction", "nldp_lower_bound", "rate"]

_MODEL = Choice("noninteractive", "public_covariates", "interactive")
# The proof needs 16 signed positions in each block.
_LEAST_BLOCK = 8


@dataclass(frozen=True)
class Rate:
    """Orders of the error of the coefficients in the Euclidean norm, without constants.

    Parameters
    ----------
    lower : float
        Order that no protocol beats.
    upper : float
        Order that a known protocol reaches, up to logarithms. It may be below `lower` by such a factor.
    """

    lower: float
    upper: float


def rate(
    model: Literal["noninteractive", "public_covariates", "interactive"],
    n_samples: int,
    n_features: int,
    n_nonzero: int,
    eps: float,
) -> Rate:
    r"""Return the orders of the smallest error of private sparse regression.

    Parameters
    ----------
    model : {"noninteractive", "public_covariates", "interactive"}
        Whether all messages are sent at once, are sent at once where covariates without responses are public too, or
        may depend on messages of other users before them.
    n_samples : int
        Number of users n.
    n_features : int
        Number of features d, at least 2.
    n_nonzero : int
        Number of non-zero coefficients k, at most d.
    eps : float
        Privacy of each user, in (0, 20].

    Returns
    -------
    Rate

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Zhu, Ding, Aggarwal, Xu and Wang (ICLR 2024, arXiv:2310.07367). All are over :math:`\sqrt n\,\varepsilon`:

    ==================  ========================  ================
    model               lower                     upper
    ==================  ========================  ================
    noninteractive      :math:`\sqrt{dk\log d}`   :math:`d\sqrt k`
    public_covariates   :math:`\sqrt{dk\log d}`   :math:`\sqrt{dk}`
    interactive         :math:`\sqrt{dk}`         :math:`k\sqrt d`
    ==================  ========================  ================

    Constants and logarithms are not known, so only ratios of orders mean something. The upper order of the
    non-interactive model is that of an (eps, delta)-private protocol and needs n of the order of d^4.

    Examples
    --------
    >>> order = rate("noninteractive", 10**8, 100, 4, 1.0)
    >>> print(f"{order.lower:.4f} {order.upper:.4f}")
    0.0043 0.0200
    """
    model, n_samples = _MODEL.check("model", model), COUNT.check("n_samples", n_samples)
    d = Integer(2).check("n_features", n_features)
    k, eps = Integer(1, d).check("n_nonzero", n_nonzero), EPS.check("eps", eps)
    unit = 1 / (math.sqrt(n_samples) * eps)
    lower = math.sqrt(d * k) if model == "interactive" else math.sqrt(d * k * math.log(d))
    upper = {"noninteractive": d * math.sqrt(k), "public_covariates": math.sqrt(d * k), "interactive": k * math.sqrt(d)}
    return Rate(lower * unit, upper[model] * unit)


def nldp_lower_bound(n_samples: int, n_features: int, n_nonzero: int, eps: float) -> float:
    r"""Return an explicit lower bound of the mean squared error of every non-interactive private protocol.

    Parameters
    ----------
    n_samples : int
        Number of users n.
    n_features : int
        Number of features d: a multiple of k, at least 8k.
    n_nonzero : int
        Number of non-zero coefficients k.
    eps : float
        Pure privacy of each user, in (0, 20].

    Returns
    -------
    float
        Bound of the largest :math:`E\|\hat\theta - \theta\|^2` over responses in {-1, 1}, uniform signs as covariates
        and k-sparse coefficients of norm at most one over the root of k.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Derived here, with an explicit constant:

    .. math:: \min\Bigl(\frac{1}{4k}, \frac{dk \log(2d/k)}{16\, n \min(\sinh^2(\varepsilon/2), d)}\Bigr).

    Split the features into k blocks. In each, an unknown one has the coefficient
    :math:`\pm\gamma/\sqrt k`, where :math:`\gamma^2 \le 1/k` keeps :math:`|\langle x, \theta\rangle| \le 1` as the
    mean of a response in {-1, 1}. Given eps-private messages, the mean chi-square divergence of one message from what
    it is at :math:`\theta = 0` is at most :math:`\sinh^2(\varepsilon/2)\,\gamma^2/d` (see
    :func:`information_contraction`), and at most that of the record, :math:`\gamma^2`. So the blocks share an
    information of at most :math:`n\gamma^2\min(\sinh^2(\varepsilon/2), d)/d`. Take for :math:`\gamma^2` four times the
    returned bound. Then the information per block is, on average, at most a quarter of :math:`\log M` for its
    :math:`M = 2d/k \ge 16` signed positions. By the inequality of Fano at least half of the blocks are guessed wrong,
    and a wrong block costs :math:`\gamma^2/(2k)`.

    Examples
    --------
    >>> print(f"{nldp_lower_bound(10**6, 64, 2, 0.5):.6f}")
    0.000521
    """
    n_samples, d = COUNT.check("n_samples", n_samples), COUNT.check("n_features", n_features)
    k, eps = COUNT.check("n_nonzero", n_nonzero), EPS.check("eps", eps)
    if d % k or d < _LEAST_BLOCK * k:
        raise ValueError(
            f"n_features must be a multiple of n_nonzero and at least {_LEAST_BLOCK} times as large; got {d} and {k}"
        )
    passed = min(information_contraction(eps), d)
    return min(1 / (4 * k), d * k * math.log(2 * d / k) / (16 * n_samples * passed))


def information_contraction(eps: float) -> float:
    r"""Return the largest factor by which Fisher information passes a pure private channel: sinh(eps / 2) squared.

    Parameters
    ----------
    eps : float
        Pure privacy of the channel, in (0, 20].

    Returns
    -------
    float
        The trace of the information of one message is at most this times the largest eigenvalue of the information of
        the record. It is also at most the trace of the latter.

    Raises
    ------
    ValueError
        If eps is out of range.

    Notes
    -----
    Derived here; the claims ``local_privacy.information_contraction`` and ``local_privacy.chi_square_contraction`` hold
    proof and check.

    Examples
    --------
    >>> round(information_contraction(1.0), 6)
    0.27154
    """
    return math.sinh(EPS.check("eps", eps) / 2) ** 2


def hard_threshold_nu(n_features: int, n_nonzero: int, n_kept: int) -> float:
    r"""Return by how much keeping the largest entries can enlarge a squared distance from sparse coefficients.

    Parameters
    ----------
    n_features : int
        Number of entries d.
    n_nonzero : int
        Number of non-zero entries k of the coefficients, at most `n_kept`.
    n_kept : int
        Number of entries k' that are kept, at most d.

    Returns
    -------
    float
        The smallest nu with :math:`\|H_{k'}(v) - \theta\|^2 \le \nu \|v - \theta\|^2` for all v and k-sparse theta.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    With :math:`\beta = m / (k' - k + m)`, where :math:`m = \min(k, d - k')` non-zero entries can be missed,
    :math:`\nu = 1 + (\beta + \sqrt{(4 + \beta)\beta})/2`. Shen and Li (2018), "A tight bound of hard thresholding".

    Examples
    --------
    >>> [round(hard_threshold_nu(1000, 10, kept) ** 0.5, 4) for kept in (10, 20, 80)]
    [1.618, 1.4142, 1.1923]
    """
    d = COUNT.check("n_features", n_features)
    kept = Integer(1, d).check("n_kept", n_kept)
    k = Integer(1, kept).check("n_nonzero", n_nonzero)
    missed = min(k, d - kept)
    if missed == 0:
        return 1.0
    share = missed / (kept - k + missed)
    return 1 + (share + math.sqrt((4 + share) * share)) / 2
