"""Claims about deviations as softplus of a parameter, and about the divergence from the prior."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.bayesian_networks.layers.instances import Case, cases
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Sums of at most a few hundred terms of one sign, each exact to some roundings.
_ROUNDING = 1e-12
# Below, the deviation stays at 1e-12, and its logarithm is not concave there.
_LEAST = -27.0


@dataclass(frozen=True)
class Parameters:
    """Free parameters of several deviations."""

    seed: int
    n: int
    centre: float
    spread: float

    @property
    def rho(self) -> Float64Array:
        """The parameters, whose deviations are above the least one that is let pass, 1e-12."""
        drawn = self.centre + self.spread * np.random.default_rng(self.seed).standard_normal(self.n)
        return np.maximum(drawn, _LEAST)


def _grown(case: Parameters) -> Measurement:
    """Compare the deviation at the mean parameter with the geometric and the arithmetic mean of deviations.

    The softplus is convex, and its logarithm is concave: the derivative of the logarithm falls from 1 to 0, as
    ``log(1 + t) < t`` for positive t. Jensen's inequality holds for both, where no deviation is cut off at 1e-12.
    """
    from sparsetheory.gpu.bayesian.layers.softplus import positive

    sigma = array(positive(tensor(case.rho)))
    at_mean = float(positive(tensor(case.rho.mean())))
    geometric = float(np.exp(np.log(sigma).mean()))
    return Measurement.chain(geometric, at_mean, {"mean deviation": float(sigma.mean())}, scale=float(sigma.max()))


def _as_grown(case: Parameters) -> Measurement:
    """Expect a deviation at the mean parameter to be the mean deviation."""
    found = _grown(case)
    return Measurement(found.extras["mean deviation"], found.bound, found.scale)


mean_parameter_deviation = Claim(
    name="bayesian_networks.mean_parameter_deviation",
    summary="A weight that starts at the mean parameter of the others has a deviation between their geometric and "
    "arithmetic means.",
    statement=r"\left(\prod_i \mathrm{sp}(\varrho_i)\right)^{1/n} \le \mathrm{sp}(\overline{\varrho})"
    r" \le \overline{\mathrm{sp}(\varrho)}",
    source=Source.ours("Jensen's inequality for the softplus and its logarithm"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.builds(
        Parameters,
        seeds,
        st.integers(1, 40),
        st.sampled_from((-20.0, -7.0, 0.0, 5.0)),
        st.sampled_from((0.0, 0.1, 1.0, 3.0)),
    ),
    evaluate=_grown,
    near_miss=_as_grown,
)


def _divergence(case: Case, prior_std: float = 0.7) -> tuple[float, float, float, float]:
    """Return the divergence, the sum that bounds it, that at the prior itself, and the largest gradient off the mask.

    With t = sigma / prior_std a term is ``(t**2 - 1) / 2 - log(t)`` plus that of the mean; as ``log(t) <= t - 1``, it
    is at least ``(t - 1)**2 / 2``.
    """
    import torch

    layer = case.layer()
    found = layer.kl(prior_std)
    found.backward()
    mask = array(layer.mask)
    mean, sigma = array(layer.mean)[mask], array(layer.sigma)[mask]
    bound = float((mean**2 + (sigma - prior_std) ** 2).sum() / (2 * prior_std**2))
    off = max(float(np.abs(array(part.grad)[~mask]).max(initial=0.0)) for part in (layer.weight, layer.rho))
    with torch.no_grad():
        layer.weight.zero_()
        layer.rho.fill_(prior_std + float(np.log(-np.expm1(-prior_std))))
    return float(found.detach()), bound, abs(float(layer.kl(prior_std).detach())), off


def _bounded(case: Case) -> Measurement:
    found, bound, at_prior, off = _divergence(case)
    measurement = Measurement(bound, found, scale=max(found, 1.0)).and_chain({"off the mask": off, "no gradient": 0.0})
    return measurement.and_chain({"at the prior": at_prior, "no divergence": 0.0})


def _twice(case: Case) -> Measurement:
    """Forget the half of the squares."""
    found, bound, _, _ = _divergence(case)
    return Measurement(2 * bound, found, scale=max(found, 1.0))


divergence_bounds = Claim(
    name="bayesian_networks.divergence_bounds",
    summary="The divergence from the prior is at least a sum of squares, so it is 0 at the prior only; off the mask it "
    "has no gradient.",
    statement=r"\mathrm{KL} \ge \sum_{i \in A} \frac{\mu_i^2 + (\sigma_i - \sigma_p)^2}{2 \sigma_p^2}, \quad"
    r" \mathrm{KL} = 0 \Leftrightarrow \mu = 0, \sigma = \sigma_p, \quad \nabla_{A^c} \mathrm{KL} = 0",
    source=Source.ours("log t is at most t - 1"),
    verdict=Always(_ROUNDING),
    instances=cases,
    evaluate=_bounded,
    near_miss=_twice,
)
