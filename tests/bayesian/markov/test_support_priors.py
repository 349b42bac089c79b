"""Priors of the support: what they send is extrinsic, and never an opinion about itself."""

import numpy as np
import pytest
from bayesian.turbo_references import all_states, chain_log_weights, marginals
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit, logsumexp

from sparsetheory.bayesian.markov.chain import chain_messages
from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior, SupportBelief
from sparsetheory.bayesian.markov.support_priors_grid import GridPrior, RowsPrior

seeds = st.integers(0, 2**32 - 1)
PRIORS = {
    "iid": IndependentPrior(0.2),
    "chain": ChainPrior(0.05, 0.2, (1, 12)),
    "lines": ChainPrior(0.05, 0.2, (3, 4)),
    "grid": GridPrior(0.05, 0.2, (3, 4)),
}


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_own_evidence_never_comes_back(prior, rng):
    """The message to a coefficient does not depend on its own evidence, nor on any earlier belief."""
    ell = rng.normal(0, 2, 12)
    belief = prior.update(ell, None)
    for i in range(12):
        changed = ell.copy()
        changed[i] += 7.0
        # On a grid the evidence comes back along loops, weakly, and within the tolerance of sum-product.
        returned = abs(prior.update(changed, None).extrinsic[i] - belief.extrinsic[i])
        assert returned <= (0.5 if isinstance(prior, GridPrior) else 1e-12)
    again = belief
    for _ in range(30):
        again = prior.update(ell, again)
    np.testing.assert_array_equal(again.probability, belief.probability)
    np.testing.assert_allclose(expit(belief.extrinsic + ell), belief.probability, atol=1e-15)


def test_feeding_the_posterior_back_would_saturate(rng):
    """The mistake of two public codes, which the package does not make: the belief as the next prior."""
    states, weights = chain_log_weights(0.05, 0.2, 0.2, 12)
    ell = rng.normal(0, 1, 12)
    exact, _ = marginals(states, weights, ell)
    evidence = ell.copy()
    for _ in range(30):
        posterior = chain_messages(evidence, activation=0.05, deactivation=0.2).probability
        evidence = np.clip(logit(np.clip(posterior, 1e-12, 1 - 1e-12)) + ell, -1e3, 1e3)
    saturated = chain_messages(evidence, activation=0.05, deactivation=0.2).probability
    assert np.minimum(saturated, 1 - saturated).max() < 1e-6
    assert np.abs(saturated - exact).mean() > 0.1
    assert np.abs(PRIORS["chain"].update(ell, None).probability - exact).max() < 1e-12


@given(seeds, st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_chain_factor_is_the_posterior(seed, p01, p10, p_init):
    ell = np.random.default_rng(seed).normal(0, 3, 8)
    belief = ChainPrior(p01, p10, (1, 8), p_init).update(ell, None)
    post, log_z = marginals(*chain_log_weights(p01, p10, p_init, 8), ell)
    np.testing.assert_allclose(belief.probability, post, atol=1e-12)
    assert belief.log_prior == pytest.approx(log_z - post @ ell, abs=1e-10)


@given(seeds, st.floats(0.01, 0.99))
def test_memoryless_chain_is_independent(seed, density):
    ell = np.random.default_rng(seed).normal(0, 5, 9)
    chain = ChainPrior(density, 1 - density, (1, 9)).update(ell, None)
    independent = IndependentPrior(density).update(ell, None)
    np.testing.assert_allclose(chain.extrinsic, independent.extrinsic, atol=1e-10)
    assert chain.log_prior == pytest.approx(independent.log_prior, abs=1e-9)


def _pooled_log_weights(p01, p10, shape):
    """Logarithm of the geometric mean of the laws of independent rows and of independent columns."""
    states = all_states(*shape)
    table, density = np.log([[1 - p01, p01], [p10, 1 - p10]]), p01 / (p01 + p10)
    first = np.log([1 - density, density])
    rows = first[states[:, :, 0]].sum(axis=1) + table[states[:, :, :-1], states[:, :, 1:]].sum(axis=(1, 2))
    cols = first[states[:, 0]].sum(axis=1) + table[states[:, :-1], states[:, 1:]].sum(axis=(1, 2))
    return states, 0.5 * (rows + cols)


@given(seeds, st.floats(0.2, 0.6), st.floats(0.2, 0.6))
def test_grids_pool_rows_and_columns(seed, p01, p10):
    ell = np.random.default_rng(seed).normal(0, 2, (2, 3))
    states, weights = _pooled_log_weights(p01, p10, (2, 3))
    post, log_z = marginals(states, weights, ell)
    assert logsumexp(weights) <= 1e-12
    approximate = GridPrior(p01, p10, (2, 3)).update(ell.ravel(), None)
    assert np.abs(approximate.probability - post.ravel()).max() < 0.1
    bounded = RowsPrior(p01, p10, (2, 3), max_iter=500).update(ell.ravel(), None)
    assert bounded.log_prior + bounded.probability @ ell.ravel() <= log_z + 1e-10


def test_rows_go_on_from_where_they_were(rng):
    ell = rng.normal(0, 2, 12)
    prior = RowsPrior(0.05, 0.2, (3, 4), max_iter=1)
    values, belief = [], None
    for _ in range(10):
        belief = prior.update(ell, belief)
        values.append(belief.log_prior + belief.probability @ ell)
    assert np.all(np.diff(values) >= -1e-12)
    assert values[-1] > values[0]


def test_learned_chain_counts_expected_switches():
    ell = np.array([30.0, 30.0, -30.0, -30.0, 30.0, 30.0, 30.0, -30.0])
    prior = ChainPrior(0.3, 0.3, (1, 8))
    found = prior.learned(prior.update(ell, None))
    # One off node of two is followed by an on node, two on nodes of five by an off node; it starts on.
    assert found.activation == pytest.approx(1 / 2, abs=1e-9)
    assert found.deactivation == pytest.approx(2 / 5, abs=1e-9)
    assert found.initial == 1 - 1e-4


def test_learned_probabilities_stay_inside_but_may_keep_what_was_given():
    all_on = SupportBelief(np.ones(4), np.full(4, 40.0), np.full(4, 40.0), 0.0)
    assert IndependentPrior(0.5).learned(all_on).density == 1 - 1e-4
    assert IndependentPrior(1 - 1e-6).learned(all_on).density == 1 - 1e-6
    single = ChainPrior(0.3, 0.2, (4, 1))
    learned = single.learned(single.update(np.full(4, 40.0), None))
    assert (learned.activation, learned.deactivation) == (0.3, 0.2)


def test_a_state_that_is_never_visited_keeps_its_probability():
    prior = ChainPrior(0.3, 0.2, (1, 4))
    learned = prior.learned(prior.update(np.full(4, 1e4), None))
    assert learned.activation == pytest.approx(0.3)
    assert learned.deactivation == 1e-4
