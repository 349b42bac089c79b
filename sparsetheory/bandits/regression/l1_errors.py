r"""What a small l1 norm proves of an estimate, in formulas.

Let :math:`\Delta` be an estimate less the s-sparse truth, S the support of the truth, x the norm :math:`|\Delta|_2`,
and G the second moments of the n rows. Three facts are all that is used.

1. An estimate with :math:`|\hat\theta|_1 \le |\theta|_1 + \gamma` has
   :math:`|\Delta_{S^c}|_1 \le |\Delta_S|_1 + \gamma`, so :math:`|\Delta|_1 \le 2\sqrt{s}\, x + \gamma`; and if both
   residuals have a root mean square of at most a and b, then :math:`\Delta^\top G \Delta \le (a + b)^2`.
2. For the Lasso with a duality gap :math:`\gamma` and noise :math:`|X^\top \nu|_\infty / n \le \beta` comparing
   objectives gives :math:`\tfrac12 \Delta^\top G \Delta + (\alpha - \beta) |\Delta_{S^c}|_1 \le (\alpha + \beta)
   |\Delta_S|_1 + \gamma`. For :math:`\beta < \alpha` so :math:`|\Delta|_1 \le \frac{2 \alpha \sqrt{s}\, x + \gamma}
   {\alpha - \beta}` and :math:`\Delta^\top G \Delta \le 2 (\alpha + \beta) \sqrt{s}\, x + 2 \gamma`. If residuals
   are correlated with the features by at most a, then :math:`|G \Delta|_\infty \le a + \beta`, so for any
   :math:`\beta` also :math:`\Delta^\top G \Delta \le (a + \beta) \sqrt{d}\, x`, as
   :math:`|\Delta|_1 \le \sqrt{d}\, x` always.
3. :math:`\Delta^\top G \Delta \ge \lambda_{\min}(G)\, x^2`, and with the largest entry m of G off the diagonal, in
   size, and the smallest one g on it, :math:`\Delta^\top G \Delta \ge (g + m) x^2 - m |\Delta|_1^2`.

Together :math:`(g + m) x^2 - m (c x + \gamma')^2 \le p x + q`, a quadratic inequality that bounds x if
:math:`\kappa = g + m - m c^2` is positive: a lower bound of the restricted eigenvalue.
"""

import math
from dataclasses import dataclass

import numpy as np

from sparsetheory.typing import Float64Array

__all__ = [
    "Cone",
    "Curvature",
    "L1Error",
    "cones_of_lasso",
    "cones_of_norm",
    "curvatures",
    "least_eigenvalue",
    "smallest_error",
]


@dataclass(frozen=True)
class Cone:
    r"""An error with :math:`|\Delta|_1 \le c x + slack` and :math:`\Delta^\top G \Delta \le p x + q`.

    Parameters
    ----------
    share : float
        c.
    slack : float
    linear, constant : float
        p and q.
    """

    share: float
    slack: float
    linear: float
    constant: float


@dataclass(frozen=True)
class Curvature:
    r"""A bound :math:`\Delta^\top G \Delta \ge g x^2 - m |\Delta|_1^2`.

    Parameters
    ----------
    smallest : float
        g.
    coupling : float
        m.
    """

    smallest: float
    coupling: float

    def kappa(self, cone: Cone) -> float:
        """Return the bound of the restricted eigenvalue on a cone."""
        return self.smallest - self.coupling * cone.share**2

    def error(self, cone: Cone) -> "L1Error":
        """Return the largest error in a cone; infinite where kappa is not positive."""
        kappa, m = self.kappa(cone), self.coupling
        if not kappa > 0:
            return L1Error(kappa, math.inf, math.inf)
        p = cone.linear + 2 * m * cone.share * cone.slack
        q = cone.constant + m * cone.slack**2
        x = (p + math.sqrt(p * p + 4 * kappa * q)) / (2 * kappa)
        return L1Error(kappa, x, cone.share * x + cone.slack)


@dataclass(frozen=True)
class L1Error:
    """Bounds of an error.

    Parameters
    ----------
    kappa : float
        Lower bound of the restricted eigenvalue that they use.
    l2, l1 : float
        Its norms, at most.
    """

    kappa: float
    l2: float
    l1: float


def cones_of_norm(s: int, d: int, slack: float, rms: float, level: float) -> list[Cone]:
    """Return where the error of a constrained estimate lies, in all ways that are known.

    Parameters
    ----------
    s, d : int
        Non-zeros of the truth, and features.
    slack : float
        The estimate's l1 norm is no larger than that of the truth and this.
    rms : float
        Root mean square of the residual of the estimate.
    level : float
        The same of the truth, at most.
    """
    square = (rms + level) ** 2
    return [Cone(2 * math.sqrt(s), slack, 0.0, square), Cone(math.sqrt(d), 0.0, 0.0, square)]


def cones_of_lasso(s: int, d: int, alpha: float, beta: float, gap: float, correlation: float) -> list[Cone]:
    """Return where the error of the Lasso lies, in all ways that are known.

    Parameters
    ----------
    s, d : int
        Non-zeros of the truth, and features.
    alpha, beta : float
        Strength of the penalty, and the largest product of a feature with what rewards are beyond the model, over n.
    gap : float
        Duality gap.
    correlation : float
        Largest product of a feature with the residual, over n.
    """
    cones = [Cone(math.sqrt(d), 0.0, (correlation + beta) * math.sqrt(d), 0.0)]
    if beta < alpha:
        share = 2 * alpha / (alpha - beta) * math.sqrt(s)
        cones.append(Cone(share, gap / (alpha - beta), 2 * (alpha + beta) * math.sqrt(s), 2 * gap))
    return cones


def least_eigenvalue(moments: Float64Array) -> float:
    """Return the smallest eigenvalue of second moments, less rounding; 0 where that is all it is."""
    values = np.linalg.eigvalsh(moments)
    rounding = 16 * float(np.finfo(np.float64).eps) * len(moments) * float(values[-1])
    return max(float(values[0]) - rounding, 0.0)


def curvatures(G: Float64Array, smallest_eigenvalue: float) -> list[Curvature]:
    """Return what is known of second moments: a lower bound of their smallest eigenvalue, and their entries."""
    diagonal = float(np.diagonal(G).min())
    off = float(np.abs(G - np.diag(np.diagonal(G))).max()) if len(G) > 1 else 0.0
    return [Curvature(smallest_eigenvalue, 0.0), Curvature(diagonal + off, off)]


def smallest_error(cones: list[Cone], known: list[Curvature]) -> L1Error:
    """Return the best bounds of an error that lies in several cones at once.

    Returns
    -------
    L1Error
        Its `kappa` is the largest one of all, which is not positive where nothing is proved.
    """
    errors = [curvature.error(cone) for cone in cones for curvature in known]
    return L1Error(
        max(error.kappa for error in errors), min(error.l2 for error in errors), min(error.l1 for error in errors)
    )
