"""The scalar channel of a Bernoulli-Gaussian coefficient in Gaussian noise: posterior and its mean squared error."""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import trapezoid
from scipy.special import expit, logit

from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["BernoulliGaussian", "ScalarPosterior"]

# Nodes of the quadrature; powers of them crowd near zero, where the posterior switches if there is little noise.
_NODES = np.linspace(0.0, 1.0, 8001)[1:]


@dataclass(frozen=True, eq=False)
class ScalarPosterior:
    """Posterior means, variances, and probabilities and second moments of being on."""

    mean: AnyArray
    var: Float64Array
    probability: Float64Array
    second_on: Float64Array


@dataclass(frozen=True)
class BernoulliGaussian:
    r"""Zero with probability :math:`1 - \lambda`, else normal.

    Parameters
    ----------
    density : float
        Probability :math:`\lambda` of being on.
    variance : float
        Variance of a coefficient that is on.
    exponent : float
        Exponent of the Gaussian: 1/2 for real, 1 for complex coefficients.
    """

    density: float
    variance: float
    exponent: float

    def posterior(self, observed: AnyArray, noise_variance: float) -> ScalarPosterior:
        """Return the posterior given ``observed = x + noise`` with noise of variance `noise_variance`, O(N)."""
        r, tau = observed, noise_variance
        total = self.variance + tau
        energy = np.abs(r) ** 2
        # |r|^2 / tau - |r|^2 / total, without the difference.
        evidence = self.exponent * (energy / tau * (self.variance / total) - np.log1p(self.variance / tau))
        post = expit(logit(self.density) + evidence)
        shrink = self.variance / total
        on = shrink * r
        second = shrink * tau + np.abs(on) ** 2
        # The variance is that while on, and that of being on or not.
        var = post * shrink * tau + post * (1.0 - post) * np.abs(on) ** 2
        return ScalarPosterior(post * on, var, post, second)

    def mmse(self, noise_variance: float) -> float:
        """Return the expected posterior variance, by quadrature."""
        total = 0.0
        for share, scale in (
            (1.0 - self.density, noise_variance),
            (self.density, noise_variance + self.variance),
        ):
            if self.exponent == 1.0:
                # The energy of a complex normal variable is exponential.
                s = 60.0 * _NODES**4
                weight = np.exp(-s) * 240.0 * _NODES**3
                r = np.sqrt(scale * s)
            else:
                z = 11.0 * _NODES**3
                weight = np.sqrt(2.0 / np.pi) * np.exp(-0.5 * z**2) * 33.0 * _NODES**2
                r = np.sqrt(scale) * z
            total += share * float(trapezoid(weight * self.posterior(r, noise_variance).var, _NODES))
        return total
