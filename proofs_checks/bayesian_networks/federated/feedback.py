"""Claims about what clients and server may tell each other about states: extrinsic messages, and never posteriors."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from hypothesis import strategies as st
from scipy.special import expit

from sparsetheory.bayesian.markov.chain import chain_messages
from sparsetheory.proofs_checks.bayesian_networks.federated.linear import ours
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always, Attains
from sparsetheory.typing import Float64Array

_NODES = 30


@dataclass(frozen=True)
class _Exchange:
    """Evidence about the nodes of a chain that one side has, and the chain that the other side has."""

    n_nodes: int
    n_rounds: int
    activation: float
    deactivation: float
    strength: float
    seed: int

    @property
    def log_odds(self) -> Float64Array:
        """Evidence."""
        return self.strength * np.random.default_rng(self.seed).standard_normal(self.n_nodes)

    def chain(self, message: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the answer of the chain: extrinsic and posterior log-odds."""
        found = chain_messages(message, activation=self.activation, deactivation=self.deactivation)
        return found.extrinsic, found.extrinsic + message

    def extrinsic_rounds(self) -> Float64Array:
        """Exchange what the other side does not know yet, and return the probabilities of being on."""
        prior = np.zeros(self.n_nodes)
        for _ in range(self.n_rounds):
            posterior = prior + self.log_odds
            prior, _ = self.chain(posterior - prior)
        return np.asarray(expit(prior + self.log_odds))

    def product_rounds(self) -> Float64Array:
        """Send products of prior and posterior, and take beliefs for priors, as the public demonstration does."""
        prior = np.zeros(self.n_nodes)
        for _ in range(self.n_rounds):
            posterior = prior + self.log_odds
            _, prior = self.chain(prior + posterior)
        return np.asarray(expit(prior))

    @property
    def exact(self) -> Float64Array:
        """Probabilities of being on, by enumeration of all states of up to some ten nodes."""
        states = np.array(list(product((0, 1), repeat=self.n_nodes)))
        density = self.activation / (self.activation + self.deactivation)
        table = np.log([[1 - self.activation, self.activation], [self.deactivation, 1 - self.deactivation]])
        logs = np.where(states[:, 0], np.log(density), np.log1p(-density)) + states @ self.log_odds
        for left, right in zip(states.T[:-1], states.T[1:], strict=True):
            logs = logs + table[left, right]
        weights = np.exp(logs - logs.max())
        return np.asarray(weights @ states / weights.sum())


def _exchanges() -> st.SearchStrategy[_Exchange]:
    rates = st.floats(0.02, 0.6)
    return st.builds(
        _Exchange, st.integers(2, 9), st.integers(1, 30), rates, rates, st.floats(0.3, 4.0), st.integers(0, 2**31)
    )


def _error(found: Float64Array, exact: Float64Array) -> Measurement:
    return Measurement(float(np.abs(found - exact).max()), 0.0, 1.0)


extrinsic_exchange = Claim(
    name="bayesian_networks.extrinsic_exchange",
    summary="Clients and server that exchange extrinsic messages have the exact posterior after any number of rounds.",
    statement=r"\mathrm{logit}\, \tilde\pi_t - \mathrm{logit}\, \pi_t = \ell \text{ for all } t: \quad "
    r"\tilde\pi_t = P(s_i = 1 | \ell)",
    source=ours("turbo exchange on a chain"),
    # Log-odds of up to some tens lose as many units in the last place.
    verdict=Always(1e-10),
    instances=_exchanges,
    evaluate=lambda one: _error(one.extrinsic_rounds(), one.exact),
    near_miss=lambda one: _error(one.product_rounds(), one.exact),
)


def _long(rng: np.random.Generator, n_rounds: float) -> _Exchange:
    return _Exchange(_NODES, int(n_rounds), 0.05, 0.2, 1.0, int(rng.integers(2**31)))


def _mean_error(one: _Exchange, found: Float64Array) -> Measurement:
    """Compare with forward-backward, which the other claim compares with enumeration."""
    _, exact = one.chain(one.log_odds)
    saturated = float(np.mean(np.minimum(found, 1 - found) < 1e-3))
    return Measurement(
        float(np.abs(found - expit(exact)).mean()), 0.1, 1.0, {"share of beliefs within 0.001 of 0 or 1": saturated}
    )


products_saturate = Claim(
    name="bayesian_networks.products_saturate",
    summary="Products of priors and posteriors, as the public demonstration sends them, drive beliefs to 0 and 1.",
    statement=r"\mathrm{logit}\, \pi_{t+1} = \mathrm{belief}(\mathrm{logit}\, \pi_t + \mathrm{logit}\, \tilde\pi_t): "
    r"\quad \tfrac1N \sum_i |\pi_{t,i} - P(s_i = 1 | \ell)| > 0.1",
    source=Source.measured("chains of 30 nodes with evidence of standard deviation 1"),
    verdict=Attains(0.9),
    evaluate=lambda one: _mean_error(one, one.product_rounds()),
    near_miss=lambda one: _mean_error(one, one.extrinsic_rounds()),
    sweep=Sweep(
        axis="rounds",
        values=(3.0, 10.0, 30.0),
        draw=_long,
        trials=200,
        quick_trials=60,
        log="x",
        measured_label="mean error of beliefs",
        bound_label="level",
    ),
)
