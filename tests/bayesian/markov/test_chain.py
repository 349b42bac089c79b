"""Chains against enumeration."""

import numpy as np
import pytest
from bayesian.turbo_references import chain_log_weights, marginals
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from sparsetheory.bayesian.markov.chain import chain_messages, chain_pair_marginals, sample_chain

probabilities = st.floats(1e-4, 1 - 1e-4)


@given(st.integers(0, 2**32 - 1), st.integers(1, 10), probabilities, probabilities, probabilities)
def test_messages_and_pairs_equal_enumeration(seed, n, p01, p10, p_init):
    ell = np.random.default_rng(seed).normal(0, 5, n)
    states, weights = chain_log_weights(p01, p10, p_init, n)
    post, log_z = marginals(states, weights, ell)
    found = chain_messages(ell, activation=p01, deactivation=p10, initial=p_init)
    np.testing.assert_allclose(found.probability, post, atol=1e-12)
    np.testing.assert_allclose(expit(found.extrinsic + ell), found.probability, atol=1e-15)
    assert found.log_normaliser == pytest.approx(log_z, abs=1e-12 * max(1, np.abs(ell).sum()))
    xi = chain_pair_marginals(ell, activation=p01, deactivation=p10, initial=p_init)
    assert xi.shape == (n - 1, 2, 2)
    shares = np.exp(weights + states @ ell - log_z)
    for u in (0, 1):
        for v in (0, 1):
            both = (states[:, :-1] == u) & (states[:, 1:] == v)
            np.testing.assert_allclose(xi[:, u, v], shares @ both, atol=1e-12)


def test_the_first_node_is_stationary_by_default():
    ell = np.array([1.0, -2.0, 0.5])
    assert (
        chain_messages(ell, activation=0.02, deactivation=0.1).log_normaliser
        == chain_messages(ell, activation=0.02, deactivation=0.1, initial=0.02 / 0.12).log_normaliser
    )


def test_no_evidence_leaves_the_prior():
    found = chain_messages(np.zeros(50), activation=0.02, deactivation=0.1)
    np.testing.assert_allclose(found.probability, 1 / 6, rtol=1e-12)
    assert found.log_normaliser == pytest.approx(0.0, abs=1e-12)


def test_precision_is_kept_and_input_not_changed():
    ell = np.linspace(-3, 3, 7).astype(np.float32)
    ell.setflags(write=False)
    found = chain_messages(ell, activation=0.1, deactivation=0.3)
    assert found.extrinsic.dtype == found.probability.dtype == np.float32
    np.testing.assert_allclose(
        found.extrinsic, chain_messages(ell.astype(float), activation=0.1, deactivation=0.3).extrinsic, rtol=1e-6
    )
    assert chain_messages([1, 0, -1], activation=0.1, deactivation=0.3).extrinsic.dtype == np.float64
    strided = np.linspace(-3, 3, 14)[::2]
    np.testing.assert_array_equal(
        chain_messages(strided, activation=0.1, deactivation=0.3).extrinsic,
        chain_messages(strided.copy(), activation=0.1, deactivation=0.3).extrinsic,
    )


@pytest.mark.parametrize(
    ("ell", "p01", "p10", "p_init", "message"),
    [
        ([0.0], 0.0, 0.1, None, r"activation must be a number in \(0, 1\)"),
        ([0.0], 0.1, 1.0, None, r"deactivation must be a number in \(0, 1\)"),
        ([0.0], 0.1, float("nan"), None, "deactivation must be"),
        ([0.0], 0.1, 0.1, 1.0, "initial must be"),
        ([1j], 0.1, 0.1, None, "log_odds must be real"),
        ([], 0.1, 0.1, None, "log_odds must hold finite"),
        ([[0.0]], 0.1, 0.1, None, "log_odds must hold finite"),
        ([np.inf], 0.1, 0.1, None, "log_odds must hold finite"),
    ],
)
def test_bad_input(ell, p01, p10, p_init, message):
    for function in (chain_messages, chain_pair_marginals):
        with pytest.raises(ValueError, match=message):
            function(ell, activation=p01, deactivation=p10, initial=p_init)


def test_samples_are_reproducible_and_checked():
    first, second = (sample_chain(100, activation=0.1, deactivation=0.2, n_paths=3, random_state=7) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert sample_chain(5, activation=0.1, deactivation=0.2, random_state=0).shape == (5,)
    for bad in ({"n_nodes": 0}, {"activation": 2.0}, {"n_paths": 0}, {"initial": -1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            sample_chain(**({"n_nodes": 5, "activation": 0.1, "deactivation": 0.2} | bad))
