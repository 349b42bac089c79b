"""The three-layer prior of Turbo-VBI, and the factors of its precisions and of the noise."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import digamma, gammaln

from sparsetheory.bayesian.turbo.gaussian import GaussianFactor
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["NoiseFactor", "PrecisionFactor", "TurboModel"]


@dataclass(frozen=True, eq=False)
class TurboModel:
    r"""Two Gamma priors per precision, one if the coefficient is on and one if it is off, and one of the noise.

    Parameters
    ----------
    on_shape, on_rate, off_shape, off_rate : ndarray of shape (N,)
        Shapes and rates of the precisions of coefficients that are on and off.
    noise_shape, noise_rate : float
        Shape and rate of the noise precision.
    exponent : float
        Exponent of the Gaussian: 1/2 for real data, 1 for complex data.
    update_exponent : float
        What the updates use in its place: the published ones use 1 for real data too.
    factorisation : {"collapsed", "meanfield"}
        Whether the factor of a precision depends on the state of its coefficient.
    n_rows : float
        Observations per snapshot.
    n_snapshots : int
        Snapshots that share support and precisions.
    noise_precision : float, optional
        If it is known.
    largest_precision : float
        Limit of the learned noise precision, for data without noise.
    """

    on_shape: Float64Array
    on_rate: Float64Array
    off_shape: Float64Array
    off_rate: Float64Array
    noise_shape: float
    noise_rate: float
    exponent: float
    update_exponent: float
    factorisation: Literal["collapsed", "meanfield"]
    n_rows: float
    n_snapshots: int
    noise_precision: float | None
    largest_precision: float

    def take(self, indices: IndexArray) -> "TurboModel":
        """Return the model of some of the coefficients."""
        names = ("on_shape", "on_rate", "off_shape", "off_rate")
        return replace(self, **{name: getattr(self, name)[indices] for name in names})

    def prior_squares(self, post: Float64Array) -> Float64Array:
        """Return the squared scales that coefficients have before the data, given the probabilities of being on."""
        return np.asarray(post * self.on_rate / self.on_shape + (1.0 - post) * self.off_rate / self.off_shape)

    def collapsed_evidence(self, second: Float64Array) -> Float64Array:
        """Return the log-odds that second moments of the coefficients give, precisions integrated out."""
        weight = self.update_exponent * self.n_snapshots
        on = _integrated(self.on_shape, self.on_rate, weight, self.update_exponent * second)
        return np.asarray(on - _integrated(self.off_shape, self.off_rate, weight, self.update_exponent * second))

    def evidence(self, factor: "PrecisionFactor") -> Float64Array:
        """Return the log-odds that a factor of the precisions gives which does not depend on the states."""
        mean, log_mean = factor.on.mean, factor.on.log_mean
        on = _log_gamma_density(self.on_shape, self.on_rate, mean, log_mean)
        return np.asarray(on - _log_gamma_density(self.off_shape, self.off_rate, mean, log_mean))

    def coupled(self, second: Float64Array) -> "PrecisionFactor":
        """Return the best factor that depends on the states."""
        weight, share = self.update_exponent * self.n_snapshots, self.update_exponent * second
        return PrecisionFactor(
            GammaFactor(self.on_shape + weight, self.on_rate + share),
            GammaFactor(self.off_shape + weight, self.off_rate + share),
        )

    def averaged(self, second: Float64Array, post: Float64Array) -> "PrecisionFactor":
        """Return the best factor that does not depend on the states, given their probabilities."""
        weight, share = self.update_exponent * self.n_snapshots, self.update_exponent * second
        both = GammaFactor(
            post * self.on_shape + (1.0 - post) * self.off_shape + weight,
            post * self.on_rate + (1.0 - post) * self.off_rate + share,
        )
        return PrecisionFactor(both, both)


@dataclass(frozen=True, eq=False)
class GammaFactor:
    """Gamma distributions by shape and rate."""

    shape: Float64Array
    rate: Float64Array

    @property
    def mean(self) -> Float64Array:
        """Expectations."""
        return self.shape / self.rate

    @property
    def log_mean(self) -> Float64Array:
        """Expectations of the logarithms."""
        return np.asarray(digamma(self.shape) - np.log(self.rate))

    @property
    def entropy(self) -> Float64Array:
        """Differential entropies."""
        a = self.shape
        return np.asarray(a - np.log(self.rate) + gammaln(a) + (1.0 - a) * digamma(a))


@dataclass(frozen=True, eq=False)
class PrecisionFactor:
    """Distributions of the precisions of coefficients that are on, and off; the same object if they do not differ."""

    on: GammaFactor
    off: GammaFactor

    def expected(self, post: Float64Array) -> Float64Array:
        """Return the expected precisions when the states have given probabilities."""
        if self.on is self.off:
            return self.on.mean
        return post * self.on.mean + (1.0 - post) * self.off.mean

    def log_joint(self, model: TurboModel, second: Float64Array, post: Float64Array) -> float:
        """Return expected log densities of coefficients and precisions, plus the entropy of the precisions."""
        terms = []
        for factor, a, b in ((self.on, model.on_shape, model.on_rate), (self.off, model.off_shape, model.off_rate)):
            mean, log_mean = factor.mean, factor.log_mean
            gaussian = model.exponent * (model.n_snapshots * log_mean - mean * second)
            terms.append(gaussian + _log_gamma_density(a, b, mean, log_mean) + factor.entropy)
        return float((post * terms[0] + (1.0 - post) * terms[1]).sum())


@dataclass(frozen=True)
class NoiseFactor:
    """The distribution of the noise precision.

    Parameters
    ----------
    mean, log_mean : float
        Expectations of the precision and of its logarithm.
    log_prior : float
        Expected log prior density plus entropy; zero if the precision is known.
    shape : float, optional
        Shape of the Gamma distribution; infinite for a known precision.
    """

    mean: float
    log_mean: float
    log_prior: float = 0.0
    shape: float = np.inf

    @classmethod
    def known(cls, precision: float) -> "NoiseFactor":
        """Return a point mass."""
        return cls(precision, float(np.log(precision)))

    @classmethod
    def learned(cls, model: TurboModel, x: GaussianFactor) -> "NoiseFactor":
        """Return the best Gamma distribution; its mean is held below the limit, where the best allowed one lies."""
        weight = model.update_exponent * model.n_snapshots
        shape = model.noise_shape + weight * model.n_rows
        rate = model.noise_rate + model.update_exponent * (x.residual + model.n_snapshots * x.spread)
        factor = GammaFactor(np.asarray(shape), np.asarray(max(rate, shape / model.largest_precision)))
        mean, log_mean = float(factor.mean), float(factor.log_mean)
        log_prior = (
            _log_gamma_density(np.asarray(model.noise_shape), np.asarray(model.noise_rate), mean, log_mean)
            + factor.entropy
        )
        return cls(mean, log_mean, float(log_prior), float(shape))


def _log_gamma_density(
    a: Float64Array, b: Float64Array, mean: Float64Array | float, log_mean: Float64Array | float
) -> Float64Array:
    """Return the expected log density of a Gamma law; in logarithms, since powers of the rate overflow."""
    return np.asarray(a * np.log(b) - gammaln(a) + (a - 1.0) * log_mean - b * mean)


def _integrated(a: Float64Array, b: Float64Array, weight: float, energy: Float64Array) -> Float64Array:
    return np.asarray(a * np.log(b) - gammaln(a) + gammaln(a + weight) - (a + weight) * np.log(b + energy))
