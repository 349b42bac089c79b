"""Claims about the most probable supports of chains, as a whole and node by node."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from hypothesis import strategies as st
from scipy.special import expit, logsumexp

from sparsetheory.bayesian.markov.chain import chain_messages, sample_chain, transition_table
from sparsetheory.bayesian.markov.most_probable import best_paths, most_probable_chain
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import BoolArray, Float64Array

# A dozen sums of logarithms, each rounded once, relative to the sum of their sizes.
_ROUNDING = 1e-12
_PAPER = "Viterbi (1967), Error bounds for convolutional codes and an asymptotically optimum decoding algorithm"


@dataclass(frozen=True)
class _Chain:
    """Evidence about the nodes of a chain."""

    log_odds: tuple[float, ...]
    activation: float
    deactivation: float
    initial: float

    @property
    def evidence(self) -> Float64Array:
        return np.array(self.log_odds)

    @property
    def scale(self) -> float:
        """Size of the sum of all terms of a log probability."""
        smallest = min(self.activation, self.deactivation, self.initial)
        return float(1 + np.abs(self.evidence).sum() - len(self.log_odds) * np.log(smallest))

    def path(self) -> BoolArray:
        law = {"activation": self.activation, "deactivation": self.deactivation, "initial": self.initial}
        return most_probable_chain(self.evidence, **law).states

    def marginals(self) -> Float64Array:
        law = {"activation": self.activation, "deactivation": self.deactivation, "initial": self.initial}
        return np.asarray(chain_messages(self.evidence, **law).probability)

    def log_weights(self, states: BoolArray) -> Float64Array:
        """Return log prior probabilities plus evidence of paths, one path per row."""
        table = np.log(transition_table(self.activation, self.deactivation))
        first = np.log(np.where(states[:, 0], self.initial, 1 - self.initial))
        on = states.astype(int)
        found: Float64Array = first + on @ self.evidence + table[on[:, :-1], on[:, 1:]].sum(axis=1)
        return found


@cache
def _all_states(n: int) -> BoolArray:
    return np.array(list(itertools.product([False, True], repeat=n)))


def _chains(longest: int) -> st.SearchStrategy[_Chain]:
    shares = st.floats(1e-3, 1 - 1e-3)
    # Exponentials of the larger ones leave the range of double precision.
    odds = st.floats(-5, 5) | st.floats(-1e4, 1e4)
    return st.builds(_Chain, st.lists(odds, min_size=1, max_size=longest).map(tuple), shares, shares, shares)


def _best(chain: _Chain, rule: Callable[[_Chain], BoolArray] = _Chain.path) -> Measurement:
    """Compare what a path loses against the best of all with rounding."""
    found = float(chain.log_weights(rule(chain)[None])[0])
    best = float(chain.log_weights(_all_states(len(chain.log_odds))).max())
    return Measurement(best - found, 0.0, scale=chain.scale)


most_probable_path = Claim(
    name="bayesian_networks.most_probable_path",
    summary="The recursion finds the most probable of all supports; marginals above one half give another one.",
    statement=r"\hat s = \arg\max_s \; p(s) \prod_i e^{\ell_i s_i} \text{ over all } 2^N \text{ supports}",
    source=Source(_PAPER, "the algorithm, for two states", provenance="classic"),
    verdict=Always(_ROUNDING),
    instances=lambda: _chains(12),
    evaluate=_best,
    near_miss=lambda chain: _best(chain, lambda one: one.marginals() > 0.5),
)


def _errors(chain: _Chain, rule: Callable[[_Chain], BoolArray]) -> Measurement:
    """Compare the expected number of wrong nodes of a support with the least that any support has.

    The expectation is a sum over all supports, by their posterior probabilities.
    """
    states = _all_states(len(chain.log_odds))
    log_weights = chain.log_weights(states)
    posterior = np.exp(log_weights - logsumexp(log_weights))
    wrong = (states[:, None] != states).sum(axis=2)
    own = (states != rule(chain)).sum(axis=1)
    return Measurement(float(posterior @ own), float((posterior @ wrong).min()), scale=chain.scale)


fewest_errors = Claim(
    name="bayesian_networks.fewest_errors",
    summary="Keeping what is on with a probability above one half makes the fewest errors on average.",
    statement=r"\mathbb{E} \|s - [\tilde\pi > \tfrac12]\|_1 = \min_t \mathbb{E} \|s - t\|_1",
    source=Source.classic("Berger (1985), Statistical decision theory and Bayesian analysis", "sums of losses"),
    verdict=Always(_ROUNDING),
    instances=lambda: _chains(8),
    evaluate=lambda chain: _errors(chain, lambda one: one.marginals() > 0.5),
    near_miss=lambda chain: _errors(chain, _Chain.path),
)


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Chains, and a normal observation of each of their nodes."""

    log_odds: Float64Array
    activation: float
    deactivation: float


_N_CHAINS, _LENGTH = 60, 200


def _draw(rng: np.random.Generator, mean_run: float) -> _Evidence:
    p01, p10 = 0.25 / mean_run, 1.0 / mean_run
    truth = sample_chain(_LENGTH, activation=p01, deactivation=p10, n_paths=_N_CHAINS, random_state=rng)
    # Observations of +1 or -1 under noise of variance 2 have their own value as log-odds.
    return _Evidence(rng.normal(np.where(truth, 1.0, -1.0), np.sqrt(2.0)), p01, p10)


def _isolated(states: BoolArray) -> float:
    padded = np.pad(states, ((0, 0), (1, 1)))
    return float((padded[:, 1:-1] & ~padded[:, :-2] & ~padded[:, 2:]).mean())


def _isolation(given: _Evidence) -> Measurement:
    """Compare the shares of nodes that are on between two neighbours that are off."""
    law = {"activation": given.activation, "deactivation": given.deactivation}
    posterior = [chain_messages(row, **law).extrinsic + row for row in given.log_odds]
    start = float(np.log(given.activation / given.deactivation))
    path = best_paths(given.log_odds, start, np.log(transition_table(**law)))
    return Measurement(_isolated(path), _isolated(expit(np.array(posterior)) > 0.5))


isolated_nodes = Claim(
    name="bayesian_networks.isolated_nodes",
    summary="The most probable supports have fewer isolated nodes than marginals above one half.",
    statement=r"\#\{i : \hat s_i = 1,\ \hat s_{i \pm 1} = 0\} \le "
    r"\#\{i : \tilde\pi_i > \tfrac12,\ \tilde\pi_{i \pm 1} \le \tfrac12\}",
    source=Source.measured("isolated nodes of chains under noise"),
    verdict=WithProbability(0.99),
    evaluate=_isolation,
    near_miss=0.25,
    sweep=Sweep(
        axis="mean run of the prior",
        values=(2.0, 3.0, 5.0, 8.0),
        draw=_draw,
        trials=100,
        quick_trials=44,
        log="x",
        measured_label="most probable support",
        bound_label="marginals above one half",
        y_label="share of isolated nodes",
    ),
)
