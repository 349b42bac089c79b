"""Evidence that supports and divergence of network Turbo-VBI follow from the weights, recomputed in plain algebra."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from scipy.special import digamma, gammaln, xlogy
from torch import nn

from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior
from sparsetheory.bayesian.markov.support_priors_grid import GridPrior
from sparsetheory.bayesian.markov.support_priors_plain import plain_posterior
from sparsetheory.certificates import Certificate, Status
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.bayesian.turbo.checks import MODEL
from sparsetheory.gpu.bayesian.turbo.layout import WeightGrid
from sparsetheory.gpu.bayesian.turbo.prior import WeightPrior
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["CertifiedLayer", "NetworkTurboVBICertificate"]

# The divergence is a sum of terms of both signs; it may differ by this share of the sum of their sizes.
_ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class CertifiedLayer:
    """What is claimed of a layer.

    Parameters
    ----------
    grid : WeightGrid
        How its weight lies on the grid of states.
    prior : WeightPrior
        Its prior, with the factors.
    kl : float
        Divergence in nats.
    off : ndarray of bool, optional
        States that are known to be off.
    """

    grid: WeightGrid
    prior: WeightPrior
    kl: float
    off: BoolArray | None = None


@dataclass(frozen=True)
class NetworkTurboVBICertificate(Certificate):
    """One more update moves probabilities of being on, and expected precisions relatively, by at most the bound.

    Attributes
    ----------
    layers : mapping of str to CertifiedLayer
        What is claimed, by names of layers.
    tol : float
        The bound.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("tol",)

    layers: Mapping[str, CertifiedLayer] = field(kw_only=True, repr=False)
    tol: float = field(kw_only=True)

    def promise(self) -> str:
        """Return what is promised."""
        return (
            "one more update moves probabilities of being on, and expected precisions relatively, by at most the bound"
        )

    def check(self, model: nn.Module) -> "NetworkTurboVBICertificate":
        """Recompute from means and deviations: evidence by divergences of Gamma laws, states in probabilities.

        Parameters
        ----------
        model : torch.nn.Module
            With the normal weights that the certificate is about.

        Returns
        -------
        NetworkTurboVBICertificate
            `measured` is the largest movement; NaN where weights are not finite. `status` also requires that the
            divergence of every layer is as claimed; with "grid_mean_field" only the movement is checked, and
            "grid_belief_propagation" has no bound to check.

        Raises
        ------
        ValueError
            If the model is no module, lacks a layer, or one has another shape.

        Notes
        -----
        O(1) per weight, in NumPy; no kernel of the solver is used.
        """
        MODEL.check("model", model)
        reason = self._excuse()
        if reason:
            return replace(self, measured=None, status=Status.NOT_APPLICABLE, reason=reason).unless_misstated()
        measured, faults = 0.0, list[str]()
        for name, claimed in self.layers.items():
            second, log_sigma = _moments(model, name, claimed.grid, claimed.prior)
            energy, n_shared = second.sum(-1).ravel(), second.shape[-1]
            if not np.all(np.isfinite(energy)):
                measured = math.nan
                faults.append(f"layer {name!r} has means or deviations that are not finite")
                continue
            measured = float(np.maximum(measured, _movement(claimed, energy, n_shared)))
            kl, size = _divergence(claimed, energy, log_sigma, n_shared)
            if kl is not None and not abs(kl - claimed.kl) <= _ROUNDING * size:
                faults.append(f"the divergence of layer {name!r} is another")
        if not math.isclose(self.bound, self.tol, rel_tol=1e-9, abs_tol=0.0):
            faults.append("the bound is not the tolerance")
        if not measured <= self.bound:
            faults.append("one more update moves by more than the bound")
        judged = replace(self, measured=measured, status=Status.of(not faults), reason="; ".join(faults))
        return judged.unless_misstated()

    def _excuse(self) -> str:
        """Return why no theorem covers this state, if none does."""
        priors = [claimed.prior for claimed in self.layers.values()]
        if any(isinstance(prior.support, GridPrior) for prior in priors):
            return "sum-product on a grid has no bound"
        if any(prior.factors.precisions is None for prior in priors):
            return "precisions are known numbers before the first update"
        return ""


def _moments(model: nn.Module, name: str, grid: WeightGrid, prior: WeightPrior) -> tuple[Float64Array, Float64Array]:
    """Return second moments and logarithms of deviations of all weights, shape (R, C, L), from the layer itself."""
    layer = dict(model.named_modules()).get(name)
    if not isinstance(layer, VariationalLayer):
        raise ValueError(f"model must have normal weights in layer {name!r}; got {type(layer).__name__}")
    expected = (*prior.shape, prior.group_size)
    if grid.shape(layer.weight.shape) != expected:
        raise ValueError(
            f"model must have {expected} rows, columns and weights per state in layer {name!r}; "
            f"got a weight of shape {tuple(layer.weight.shape)}"
        )
    mean, rho = (grid.pack(part.detach().double()).cpu().numpy() for part in (layer.weight, layer.rho))
    with np.errstate(invalid="ignore"):
        sigma = np.maximum(np.logaddexp(0.0, rho), 1e-12)
    return mean**2 + sigma**2, np.log(sigma)


def _movement(claimed: CertifiedLayer, energy: Float64Array, n_shared: int) -> float:
    """Return by how much an update of precisions and states moves them."""
    prior, factors = claimed.prior, claimed.prior.factors
    post = factors.belief.probability
    (a, b), (a_off, b_off) = prior.laws(factors.off_rate)
    if prior.factorisation == "collapsed":
        best = [(np.full_like(energy, a + n_shared / 2), b + energy / 2)]
        best.append((np.full_like(energy, a_off + n_shared / 2), b_off + energy / 2))
    else:
        shape, rate = post * a + (1 - post) * a_off + n_shared / 2, post * b + (1 - post) * b_off + energy / 2
        # One law for both states, so that the mean over states below leaves it as it is.
        best = [(shape, rate), (shape, rate)]
    on, off = _costs(prior, factors.off_rate, best, energy, n_shared)
    evidence = off - on
    if claimed.off is not None:
        evidence = np.where(claimed.off.ravel(), factors.belief.log_odds, evidence)
    again = plain_posterior(prior.support, evidence, post)
    precisions = again * (best[0][0] / best[0][1]) + (1 - again) * (best[1][0] / best[1][1])
    return float(max(np.abs(again - post).max(), np.abs(precisions / factors.expected_precisions - 1).max()))


def _divergence(
    claimed: CertifiedLayer, energy: Float64Array, log_sigma: Float64Array, n_shared: int
) -> tuple[float | None, float]:
    """Return the divergence with the factors as they are, and the sum of the sizes of its terms; None on grids."""
    prior, factors = claimed.prior, claimed.prior.factors
    post, held = factors.belief.probability, factors.precisions
    assert held is not None
    pairs = [(held.on.shape, held.on.rate), (held.off.shape, held.off.rate)]
    on, off = _costs(prior, factors.off_rate, pairs, energy, n_shared)
    states = _state_divergence(prior, factors.belief.log_odds, post)
    terms = np.concatenate([post * on, (1 - post) * off, -0.5 - log_sigma.ravel()])
    if states is None:
        return None, math.inf
    return float(terms.sum() + states), float(np.abs(terms).sum() + abs(states))


def _costs(
    prior: WeightPrior, off_rate: float, pairs: Sequence[tuple[Any, Any]], energy: Float64Array, n_shared: int
) -> list[Float64Array]:
    """Return what precisions of either state cost: their divergence from the prior, less the fit of the weights."""
    return [
        _gamma_divergence(shape, rate, a, b)
        + 0.5 * (shape / rate * energy - n_shared * (digamma(shape) - np.log(rate)))
        for (shape, rate), (a, b) in zip(pairs, prior.laws(off_rate), strict=True)
    ]


def _gamma_divergence(shape: Any, rate: Any, prior_shape: float, prior_rate: float) -> Any:
    """Return the divergence of Gamma laws from one with a given shape and rate."""
    return (
        (shape - prior_shape) * digamma(shape)
        - gammaln(shape)
        + gammaln(prior_shape)
        + prior_shape * np.log(rate / prior_rate)
        + shape * (prior_rate - rate) / rate
    )


def _state_divergence(prior: WeightPrior, log_odds: Float64Array, post: Float64Array) -> float | None:
    """Return the divergence of the states from their law; None on grids."""
    law = prior.support
    if isinstance(law, IndependentPrior):
        q = law.density
        return float((xlogy(post, post / q) + xlogy(1 - post, (1 - post) / (1 - q))).sum())
    if not isinstance(law, ChainPrior):
        return None
    # The states are the chain reweighted by the evidence; what is left is its normaliser, by the forward recursion.
    rows = log_odds.reshape(law.shape)
    table = np.array([[1 - law.activation, law.activation], [law.deactivation, 1 - law.deactivation]])
    weights = np.stack([np.exp(np.minimum(-rows, 0.0)), np.exp(np.minimum(rows, 0.0))], axis=-1)
    log_z = np.maximum(rows, 0.0).sum()
    ahead = np.broadcast_to([1 - law.density, law.density], weights[:, 0].shape)
    for i in range(law.shape[1]):
        now = ahead * weights[:, i]
        total = now.sum(axis=1, keepdims=True)
        log_z += np.log(total).sum()
        ahead = (now / total) @ table
    return float(post @ log_odds - log_z)
