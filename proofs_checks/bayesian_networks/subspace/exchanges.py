"""Claim: in a network of one linear layer, what a swap does to the evidence bound is a sum of price and gain."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian import swap_gains
from sparsetheory.gpu import bayesian
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


@dataclass(frozen=True)
class _Linear:
    """A linear layer with one output, Gaussian data, and the best factors on a random mask.

    Parameters
    ----------
    n_samples, n_in, n_active : int
    kappa, prior : float
        Precision of the noise, and standard deviation of the prior.
    spread : float
        Of the logarithms of the scales of inputs.
    seed : int
    """

    n_samples: int
    n_in: int
    n_active: int
    kappa: float
    prior: float
    spread: float
    seed: int

    @cached_property
    def data(self) -> tuple[Float64Array, Float64Array]:
        """Inputs and targets."""
        rng = np.random.default_rng(self.seed)
        x = rng.standard_normal((self.n_samples, self.n_in)) * np.exp(self.spread * rng.standard_normal(self.n_in))
        return x, x @ rng.standard_normal(self.n_in) + rng.standard_normal(self.n_samples)

    @cached_property
    def curvature(self) -> Float64Array:
        """Second derivatives of minus the log likelihood, in nats."""
        return self.kappa * (self.data[0] ** 2).sum(0)

    def layer(self) -> Any:
        """Return the layer with the best factors: precisions of likelihood and prior, means of ridge regression."""
        import torch

        x, y = self.data
        active = np.random.default_rng(self.seed + 1).permutation(self.n_in)[: self.n_active]
        system = self.kappa * x[:, active].T @ x[:, active] + np.eye(self.n_active) / self.prior**2
        mean = np.linalg.solve(system, self.kappa * x[:, active].T @ y)
        layer = bayesian.BayesLinear(self.n_in, 1, bias=False, prior_std=self.prior).double()
        mask = torch.zeros(1, self.n_in, dtype=torch.bool)
        mask[0, active] = True
        layer.set_mask(mask)
        with torch.no_grad():
            layer.weight[0, active] = torch.from_numpy(mean)
            layer.rho[0, active] = self.rho(active)
        return layer

    def rho(self, where: Any) -> Any:
        """Return the parameters of the best deviations of some weights."""
        import torch

        sigma = (self.curvature[where] + self.prior**-2) ** -0.5
        return torch.from_numpy(np.asarray(sigma + np.log(-np.expm1(-sigma))))

    def bound(self, layer: Any) -> float:
        """Return the evidence bound of the factors of a layer, from its own means, deviations and divergence."""
        x, y = self.data
        mean, sigma = array(layer.mean)[0], array(layer.sigma)[0]
        misfit = float(((y - x @ mean) ** 2).sum() + (x**2 @ sigma**2).sum())
        constant = 0.5 * len(y) * np.log(self.kappa / (2 * np.pi))
        return float(constant - 0.5 * self.kappa * misfit - float(layer.kl().detach()))


def _exchange(case: _Linear, *, in_nats: bool = True) -> Measurement:
    """Let a scheduler swap one weight, then give the new one its best factor; compare with what was to be expected.

    The bound is linear in the factors of single weights. Removing the best one costs its price; then adding another one
    gains what its derivative and its curvature say, the derivative being that of the mean loss times the number of
    samples, with what the removed weight explained added back.
    """
    import torch

    layer, (x, y) = case.layer(), case.data
    before, start = case.bound(layer), [array(one).copy()[0] for one in (layer.mask, layer.mean, layer.sigma)]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    scheduler = bayesian.SSVIScheduler(
        layer,
        optimizer,
        period=2,
        t_end=50,
        drop_fraction=1e-6,
        min_swaps=1,
        criterion="savage_dickey",
        noise_free_grad=True,
        allow_regrow=False,
    )
    scheduler.request()
    misfit = case.kappa / 2 * (torch.from_numpy(y) - layer(torch.from_numpy(x))[:, 0]).square().mean()
    (misfit + layer.kl() / len(y)).backward()
    gradient = array(scheduler._dense_gradients._kept[0])[0]
    optimizer.step()
    mask, (old, mean, sigma) = array(layer.mask)[0], start
    (left,), (entered,) = np.flatnonzero(old & ~mask), np.flatnonzero(mask & ~old)
    price = bayesian.removal_score(
        layer.weight.new_tensor(mean[left]), layer.weight.new_tensor(sigma[left]), "savage_dickey", prior_std=case.prior
    )
    slope = (len(y) if in_nats else 1) * -gradient[entered] + case.kappa * x[:, entered] @ x[:, left] * mean[left]
    gain = bayesian.addition_score(
        torch.tensor(slope), torch.tensor(case.curvature[entered]), prior_std=case.prior, rule="gain"
    )
    with torch.no_grad():
        layer.rho[0, entered] = case.rho(entered)
        layer.weight[0, entered] = slope / (case.curvature[entered] + case.prior**-2)
    change = case.bound(layer) - before
    active = np.flatnonzero(old)
    gains = swap_gains(x, y, case.kappa, case.prior, active, mean[active], sigma[active] ** 2)
    solver = gains.gain[list(active).index(left), list(gains.candidates).index(entered)]
    errors = [abs(change - float(gain - price)), abs(change - solver)]
    return Measurement(max(errors), 0.0, scale=max(abs(before), abs(change), 1.0))


swap_is_price_and_gain = Claim(
    name="bayesian_networks.swap_is_price_and_gain",
    summary="In a linear layer, a swap changes the evidence bound by gain less price in nats, as the solver says.",
    statement=r"L(A \setminus i \cup j) - L(A) = \frac{g_j^2}{2 (h_j + \sigma_p^{-2})} - \frac12 "
    r"\log(1 + \sigma_p^2 h_j) - \Bigl(\frac{\mu_i^2}{2 \sigma_i^2} - \log\frac{\sigma_p}{\sigma_i}\Bigr)",
    source=Source.ours("the bound is quadratic in each factor, and the solver of linear models has the same changes"),
    verdict=Always(rtol=1e-10),
    instances=lambda: st.integers(2, 7).flatmap(
        lambda n: st.builds(
            _Linear,
            st.integers(2, 12),
            st.just(n),
            st.integers(1, n - 1),
            st.floats(0.2, 4.0),
            st.floats(0.3, 3.0),
            st.floats(0.0, 1.0),
            seeds,
        )
    ),
    evaluate=_exchange,
    near_miss=lambda case: _exchange(case, in_nats=False),
)
