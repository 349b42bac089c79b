"""Claims about what one weight says of its state, what its neighbours can add, and where weights without data end."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import bayesian
from sparsetheory.proofs_checks.bayesian_networks.turbo.instances import SmallLayer, ours, small_layers
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.verdicts import Always

_ROUNDING = 1e-9


def _extremes(layer: SmallLayer, move: int, prior: Any = None) -> Any:
    """Return a prior after an update with weights of any size."""
    prior = layer.prior() if prior is None else prior
    rng = np.random.default_rng([layer.seed, 7, move])
    prior.update(layer.on_rate * 10 ** rng.uniform(-9, 6, layer.shape[:2]), layer.off_rate)
    return prior


def _neighbour_limits(layer: SmallLayer) -> tuple[float, float]:
    """Return between which log-odds all that a chain says of a node must lie."""
    on, off = layer.activation, layer.deactivation
    low = np.log(on / (1 - on)) + np.log(off / (1 - on))
    return float(low), float(np.log((1 - off) / off) + np.log((1 - off) / on))


def _within(layer: SmallLayer, share: float) -> Measurement:
    low, high = _neighbour_limits(layer)
    said = np.concatenate([_extremes(layer, move).extrinsic.ravel() for move in range(4)])
    left = np.concatenate([said, share * low - said])
    return Measurement.worst(left, np.concatenate([np.full_like(said, share * high), np.zeros_like(said)]), high - low)


neighbours_are_bounded = Claim(
    name="bayesian_networks.neighbours_are_bounded",
    summary="What neighbours say about a weight is bounded, however sure they are.",
    statement=r"\mathrm{logit}\, p_{01} + \ln\tfrac{p_{10}}{1 - p_{01}} \le \mathrm{logit}\, \pi_i \le "
    r"\mathrm{logit}(1 - p_{10}) + \ln\tfrac{1 - p_{10}}{p_{01}} \text{ for } p_{01} + p_{10} \le 1",
    source=ours("messages along the rows of a weight"),
    verdict=Always(_ROUNDING),
    instances=lambda: small_layers(("chain_rows",)).filter(lambda one: one.activation + one.deactivation <= 1),
    evaluate=lambda layer: _within(layer, 1.0),
    near_miss=lambda layer: _within(layer, 0.9),
)


def _evidence_range(layer: SmallLayer, per_group: bool) -> Measurement:
    r"""Measure log-odds of evidence against their range for equal shapes a = 1, in which they grow with the weights.

    They are :math:`\ln(b / b_0) + (1 + L / 2) \ln \frac{b_0 + e / 2}{b + e / 2}`.
    """
    gap = -np.log(layer.ratio)
    lowest = -gap * (layer.shape[2] / 2 if per_group else 0.5)
    prior = layer.prior(on_shape=1.0, off_shape=1.0)
    n = layer.shape[0] * layer.shape[1]
    second = layer.on_rate * np.sort(10 ** np.random.default_rng(layer.seed).uniform(-9, 6, n))
    prior.update(second.reshape(layer.shape[:2]), layer.ratio * layer.on_rate)
    odds = prior.log_odds.ravel()
    left = np.concatenate([[lowest], odds])
    return Measurement.worst(left, np.concatenate([odds, [gap]]), scale=gap * layer.shape[2])


evidence_is_bounded = Claim(
    name="bayesian_networks.evidence_is_bounded",
    summary="The collapsed evidence grows with the weights of a group, between limits that neighbours can overcome.",
    statement=r"-\tfrac L2 \ln\tfrac b{b_0} \le \ell(e) \le \ell(e') \le \ln\tfrac b{b_0} \text{ for } e \le e', a = 1",
    source=ours("evidence of a group of weights"),
    verdict=Always(_ROUNDING),
    instances=small_layers,
    evaluate=lambda layer: _evidence_range(layer, per_group=True),
    near_miss=lambda layer: _evidence_range(layer, per_group=False),
)


def _inert(layer: SmallLayer, factorisation: str) -> Measurement:
    """Measure probabilities of nodes whose expected precision is large, between neighbours of any size.

    With precisions that do not see the states the evidence is linear in the expected precision, and neighbours add at
    most their limit.
    """
    off_rate = layer.ratio * layer.on_rate
    prior = layer.prior(on_shape=1.0, off_shape=1.0, factorisation=factorisation, shape=(*layer.shape[:2], 1))
    worst = 0.0
    for move in range(4):
        rng = np.random.default_rng([layer.seed, 7, move])
        # All but every third weight are large; those are as small as a weight that is off.
        second = layer.on_rate * 10 ** rng.uniform(0, 4, layer.shape[:2])
        second.ravel()[1::3] = off_rate * rng.random(second.ravel()[1::3].size)
        prior.update(second, off_rate)
        limit = (-np.log(layer.ratio) + _neighbour_limits(layer)[1]) / (layer.on_rate - off_rate)
        # The published precision does not see the state; of the collapsed one the value before the states counts.
        known = 1.5 / (off_rate + second / 2) if factorisation == "collapsed" else prior.expected_precisions
        worst = max(worst, float(prior.probability[known > limit].max(initial=0.0)))
    return Measurement(worst, 0.5, 1.0)


def _clustered() -> st.SearchStrategy[Any]:
    return small_layers(("chain_rows",)).filter(lambda one: one.activation + one.deactivation <= 1)


published_coupling_is_inert = Claim(
    name="bayesian_networks.published_coupling_is_inert",
    summary="In the published factorisation no neighbours can switch on a weight that is off.",
    statement=r"\langle\rho_i\rangle > (\ln\tfrac b{b_0} + \pi_{\max}) / (b - b_0) \Rightarrow q(s_i) < \tfrac12",
    source=ours("inertness of the published factorisation"),
    verdict=Always(_ROUNDING),
    instances=_clustered,
    evaluate=lambda layer: _inert(layer, "meanfield"),
    near_miss=lambda layer: _inert(layer, "collapsed"),
)


@dataclass(frozen=True)
class _Idle:
    """A weight that no data speak for."""

    density: float
    ratio: float
    n_anneal_steps: int

    def end(self, annealed: bool) -> float:
        """Return the probability of being on, where the weight and its prior have come to rest.

        Without data the best second moment of a weight is one over its expected precision.
        """
        prior = bayesian.WeightPrior((1, 1), "iid", activation=self.density, deactivation=1 - self.density)
        # The variance of the warm-up is that of the slab times the density.
        second, rate = self.density, self.ratio
        for k in range(self.n_anneal_steps + 150):
            if annealed:
                rate = self.ratio ** min(1.0, k / self.n_anneal_steps)
            second = 1.0 / float(prior.update(np.full((1, 1), second), rate)[0, 0])
        return float(prior.probability[0, 0])


def _idle() -> st.SearchStrategy[_Idle]:
    return st.builds(
        _Idle,
        st.floats(0.02, 0.2),
        st.floats(-5, -2).map(lambda x: 10.0**x),
        st.integers(40, 50),
    )


annealing_frees_idle_weights = Claim(
    name="bayesian_networks.annealing_frees_idle_weights",
    summary="A weight without data ends off if the law of the off state is moved step by step.",
    statement=r"e \leftarrow 1 / \langle\rho\rangle, \ b_0 = b\, r^{k / K}: \quad q(s) < \tfrac12 \text{ at the end}, "
    r"\ \lambda \le 0.2, \ r \in [10^{-5}, 10^{-2}]",
    source=ours("map of a weight without data, checked on its range"),
    verdict=Always(0.0),
    instances=_idle,
    evaluate=lambda idle: Measurement(idle.end(annealed=True), 0.5, 1.0),
    near_miss=lambda idle: Measurement(idle.end(annealed=False), 0.5, 1.0),
)
