"""What is proved about the prediction error of one random-support fit."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.arguments import check_number
from sparsetheory.certificates import Certificate, Status
from sparsetheory.regression.anchors import Anchors
from sparsetheory.regression.columns import check_columns
from sparsetheory.regression.gauge import certify_anchors
from sparsetheory.regression.least_squares import scale_rows
from sparsetheory.regression.theory import prediction_bound

__all__ = ["PredictionCertificate", "signal_bound"]


def signal_bound(y: NDArray[np.float64], sigma: float, t: float = 3.0) -> float:
    """Return an upper bound on the size of the signal, ``|y| / sqrt(N) + sigma (1 + sqrt(2t / N))``.

    It fails with probability at most ``exp(-t)`` for Gaussian noise of level sigma.

    Parameters
    ----------
    y : ndarray of shape (N,)
        Response without the part that the model always contains.
    sigma : float
        Noise level.
    t : float
        Confidence.

    Returns
    -------
    float
    """
    n = y.shape[0]
    return float(np.linalg.norm(y) / np.sqrt(n) + sigma * (1 + np.sqrt(2 * t / n)))


@dataclass(frozen=True)
class PredictionCertificate(Certificate):
    r"""The error bound of this fit, where its conditions hold, and the certificate of its anchors always.

    For a support drawn uniformly, Gaussian noise of known level sigma and the l1 solver at a level of at least the
    universal one, with probability at least :math:`1 - \delta - \beta - \delta' - 2 e^{-t}`

    .. math:: \tfrac1N \|X(\hat w - w^*)\|^2 \le \tfrac{\sigma^2}{N}(m + 2\sqrt{mt} + 2t)
              + \bigl(\sqrt{2 \lambda \alpha B} + \sqrt{2g}\bigr)^2

    with m anchor dimensions, gauge bound alpha, signal size B and duality gap g (ours; see
    :func:`sparsetheory.regression.theory.prediction_bound`). The greedy solvers have no such bound: `bound` is NaN and
    `valid` False, and only the anchors are certified.

    Attributes
    ----------
    anchors : Anchors
        Chosen from the design alone.
    k, alpha : int, float
        Size of the support and bound on its gauge.
    sigma, lam, gap, rank : float, float, float, int
        What enters the bound.
    signal : float
        Upper bound on B.
    roots : ndarray of shape (N,), optional
        Roots of the row weights (of mean one) with which the model was fitted.
    """

    anchors: Anchors = field(kw_only=True, repr=False)
    k: int = field(kw_only=True)
    alpha: float = field(kw_only=True)
    sigma: float = field(kw_only=True)
    lam: float = field(kw_only=True)
    gap: float = field(kw_only=True)
    rank: int = field(kw_only=True)
    signal: float = field(kw_only=True)
    shape: tuple[int, int] = field(kw_only=True)
    applies: bool = field(kw_only=True)
    roots: NDArray[np.float64] | None = field(kw_only=True, default=None, repr=False)

    @classmethod
    def of(cls, **facts: Any) -> "PredictionCertificate":
        """Certify a fit from its facts; the bound is that for the data's own bound on the signal."""
        applies = facts["applies"]
        statement = (
            "mean squared prediction error of the anchored l1 norm on a random support"
            if applies
            else "anchors only: no theorem bounds the error of this solver, noise level or penalty level"
        )
        blank = cls(statement, float("nan"), None, Status.of(applies), **facts)
        return replace(blank, bound=blank.error_bound())

    def error_bound(self, B: float | None = None, *, t: float = 3.0) -> float:
        """Return the bound on the mean squared prediction error for a signal of size B.

        Parameters
        ----------
        B : float, optional
            Root mean square of the true signal (about its mean where an intercept is fitted); an upper bound from the
            data by default.
        t : float
            Confidence of the noise terms.

        Returns
        -------
        float
            NaN where no theorem applies.

        Raises
        ------
        ValueError
            If B is not a finite non-negative number.
        """
        size = self.signal if B is None else check_number("B", B)
        if not self.applies:
            return float("nan")
        n, d = self.shape
        noise = prediction_bound(n, d, self.rank, 0.0, 0.0, self.sigma, 0.1, t)
        return float(noise + (np.sqrt(2 * self.lam * self.alpha * size) + np.sqrt(2 * self.gap)) ** 2)

    def check(self, X: Any, y: ArrayLike | None = None) -> "PredictionCertificate":
        """Test the anchors on fresh supports.

        Parameters
        ----------
        X : array or sparse matrix of shape (N, d)
            Design of the fit, without its row weights.
        y : array-like, optional
            Not used: what is checked concerns the design alone.

        Returns
        -------
        PredictionCertificate
            `measured` is the upper confidence limit of the share of supports whose gauge exceeds alpha; `valid` says
            whether the lower limit of that share allows the certified level, and the bound applies.
        """
        X = X if self.roots is None else scale_rows(check_columns(X), self.roots)
        fresh = certify_anchors(X, self.k, self.anchors, alpha_max=self.alpha)
        allowed = self.anchors.certified and fresh.lower <= self.anchors.delta
        return replace(self, measured=fresh.bound, status=Status.of(allowed and self.applies))
