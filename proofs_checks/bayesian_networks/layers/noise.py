"""Claims about local noise: it has the variances of random weights, and of convolutions not their covariances."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.gpu import bayesian
from sparsetheory.proofs_checks.bayesian_networks.layers.instances import Case, cases, noise_of
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

# Standard deviations are differences of outputs, divided by noise that may be small: the smallest of some hundred
# numbers is near 1e-3, and outputs are some hundred times as large as the least deviations.
_ROUNDING = 1e-8
_KINGMA = "Kingma, Salimans, Welling (2015)"


def _variances(layer: Any, x: Any) -> Float64Array:
    """Return the variances of the outputs under random weights, as sums over the inputs of each output.

    An output is linear in the weights: weight k of it meets the input that moves it when weight k alone moves.
    """
    import torch

    def outputs(weight: Any) -> Any:
        return torch.func.functional_call(layer, {"weight": weight, "bias": torch.zeros_like(layer.bias)}, (x,))

    before, layer.sampling = layer.sampling, "mean"
    seen = torch.func.jacrev(outputs)(torch.zeros_like(layer.weight.detach()))
    layer.sampling = before
    seen = array(seen).reshape(*seen.shape[: x.ndim], -1)
    sigma = array(layer.sigma).ravel()
    return np.asarray(np.einsum("...k,k->...", seen**2, sigma**2))


def _local(case: Case, constant: float = 0.0) -> Measurement:
    """Compare the variances that local noise had with those under random weights, output by output.

    Where no active weight meets an input that is not 0, both must be 0.
    """
    layer, x = case.layer(), case.inputs()
    _, std = noise_of(case, layer, x)
    exact = np.sqrt(_variances(layer, x) + constant)
    return Measurement.worst(np.abs(std - exact), 0.0, scale=max(float(np.abs(exact).max()), 1e-3 * case.scale, 1e-12))


def _with_constant(case: Case) -> Measurement:
    """Add 1e-8 to every variance, as a published layer does."""
    return _local(case, 1e-8)


local_noise_variance = Claim(
    name="bayesian_networks.local_noise_variance",
    summary="Local noise gives each output the variance that random weights give, also in convolutions.",
    statement=r"\mathrm{Var}\, y_{op} = \sum_k \sigma_{ok}^2 x_{pk}^2",
    source=Source(_KINGMA, "section 2.2", "1506.02557"),
    verdict=Always(_ROUNDING),
    instances=cases,
    evaluate=_local,
    near_miss=_with_constant,
)


@dataclass(frozen=True)
class Draws:
    """Outputs of one linear layer for one input, drawn many times in two ways."""

    case: Case
    n: int = 20000

    def outputs(self, sampling: str) -> Float64Array:
        """Return the outputs, one row for each draw."""
        import torch

        layer, x = self.case.layer("weights"), self.case.inputs()[:1]
        with torch.no_grad():
            if sampling == "local":
                layer.sampling = "local"
                return array(layer(x.expand(self.n, *x.shape[1:]))).reshape(self.n, -1)
            # Many sets of weights at once: a linear layer with as many rows is the same layer again and again.
            wide = bayesian.BayesLinear(9, 6 * self.n, dtype=torch.float64, sampling="weights", generator=self.seed)
            for name, value in (("weight", layer.weight), ("rho", layer.rho), ("bias", layer.bias)):
                getattr(wide, name).copy_(value.repeat(self.n, *([1] * (value.ndim - 1))))
            wide.mask.copy_(layer.mask.repeat(self.n, 1))
            return array(wide(x)).reshape(self.n, 6)

    @property
    def seed(self) -> int:
        """Of the noise of the weights."""
        return self.case.noise_seed + 1


def _distances(draws: Draws, local: Float64Array | None = None) -> Measurement:
    """Compare mean and variance of outputs under random weights and under local noise.

    The bound of means is 5 standard errors of their difference; that of variances is 6 %, where their ratio has a
    standard error of ``2 / sqrt(n)``, 1.4 % for 20 000 draws.
    """
    weights = draws.outputs("weights")
    local = draws.outputs("local") if local is None else local
    variance = weights.var(axis=0)
    moving = variance > 0
    errors = np.sqrt((variance + local.var(axis=0)) / draws.n)[moving]
    means = np.abs(weights.mean(axis=0) - local.mean(axis=0))[moving] / (5 * errors)
    ratios = np.abs(local.var(axis=0)[moving] / variance[moving] - 1) / 0.06
    found = Measurement(float(means.max(initial=0.0)), 1.0)
    return found.and_chain({"ratio of variances - 1, / 6 %": float(ratios.max(initial=0.0)), "one": 1.0})


def _deviations_unsquared(draws: Draws) -> Measurement:
    """Take the deviations for variances."""
    layer, x = draws.case.layer(), draws.case.inputs()[:1]
    sigma, rng = array(layer.sigma), np.random.default_rng(draws.seed)
    mean = array(layer.bias) + array(x) @ array(layer.mean).T
    std = np.sqrt(array(x) ** 2 @ sigma.T)
    return _distances(draws, mean + std * rng.standard_normal((draws.n, mean.shape[1])))


local_noise_moments = Claim(
    name="bayesian_networks.local_noise_moments",
    summary="Draws of a linear layer have the same means and variances with random weights and with local noise.",
    statement=r"|\overline{y}_{w} - \overline{y}_{loc}| \le 5\, \mathrm{s.e.}, \quad"
    r" |s^2_{loc} / s^2_{w} - 1| \le 0.06",
    source=Source(_KINGMA, "section 2.2", "1506.02557"),
    verdict=WithProbability(0.9),
    evaluate=_distances,
    near_miss=_deviations_unsquared,
    sweep=Sweep(
        axis="density of the mask",
        values=(0.1, 0.3, 1.0),
        draw=lambda rng, density: Draws(Case(int(rng.integers(2**31)), -1, density, 0.1)),
        trials=60,
        quick_trials=21,
        quick_values=(0.3,),
        measured_label="difference of means / 5 standard errors",
    ),
)


@dataclass(frozen=True)
class Places:
    """A row of inputs, a filter that slides along it, and the distance of two places whose outputs are compared."""

    seed: int
    distance: int
    n: int = 2000

    def inputs(self) -> Float64Array:
        """Return inputs that are mostly positive, as the brightness of pictures is."""
        return np.asarray(1 + 0.5 * np.random.default_rng([self.seed, 0]).standard_normal(12))

    def sigma(self) -> Float64Array:
        """Return the deviations of the filter."""
        return np.asarray(0.1 * np.exp(0.3 * np.random.default_rng([self.seed, 1]).standard_normal(5)))

    def exact(self) -> float:
        """Return the correlation under random weights: both outputs are sums over the same weights."""
        first, second = (self.sigma() * self.inputs()[start : start + 5] for start in (0, self.distance))
        return float(first @ second / np.sqrt(first @ first * (second @ second)))

    def measured(self, sampling: str) -> float:
        """Return the correlation over many channels, whose weights have equal laws."""
        import torch

        layer = bayesian.BayesConv2d(
            1, self.n, (1, 5), bias=False, dtype=torch.float64, sampling=sampling, generator=self.seed // 2 + 1
        )
        sigma = self.sigma()
        with torch.no_grad():
            layer.weight.zero_()
            layer.rho.copy_(tensor(sigma + np.log(-np.expm1(-sigma))).expand_as(layer.rho))
            outputs = array(layer(tensor(self.inputs()).reshape(1, 1, 1, -1)))[0, :, 0]
        first, second = outputs[:, 0], outputs[:, self.distance]
        return float(first @ second / np.sqrt(first @ first * (second @ second)))


def _correlations(case: Places) -> Measurement:
    """Compare correlations with those that are expected: the exact one, and none. The bound is 5 standard errors."""
    exact, weights, local = case.exact(), case.measured("weights"), case.measured("local")
    bound = 5 / np.sqrt(case.n)
    found = Measurement(abs(weights - exact), bound, extras={"correlation": exact})
    return found.and_chain({"of local noise": abs(local), "its bound": bound})


def _correlated(case: Places) -> Measurement:
    """Expect local noise to have the correlation of random weights."""
    return Measurement(abs(case.measured("local") - case.exact()), 5 / np.sqrt(case.n))


local_noise_correlation = Claim(
    name="bayesian_networks.local_noise_correlation",
    summary="Under random weights, outputs of a convolution at two places are correlated; under local noise they are "
    "not.",
    statement=r"\mathrm{Corr}_w(y_p, y_q) = \frac{\sum_k \sigma_k^2 x_{p+k} x_{q+k}}"
    r"{\sqrt{\sum_k \sigma_k^2 x_{p+k}^2 \sum_k \sigma_k^2 x_{q+k}^2}}, \quad \mathrm{Corr}_{loc}(y_p, y_q) = 0",
    source=Source.ours("outputs at two places are sums over the same weights"),
    verdict=WithProbability(0.9),
    evaluate=_correlations,
    near_miss=_correlated,
    sweep=Sweep(
        axis="distance of two places",
        values=(1, 2, 3, 4),
        draw=lambda rng, distance: Places(int(rng.integers(2**31)), int(distance)),
        trials=60,
        quick_trials=21,
        quick_values=(1, 4),
        measured_label="error of the correlation",
        bound_label="5 standard errors",
        y_label="correlation",
    ),
)
