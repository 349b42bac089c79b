"""Needles have exactly the coherence, rank, leverages and misspecification that they state."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bandits import (
    bounds,
    g_optimal_design,
    leverage,
    make_basis_needle,
    make_jl_needle,
    make_needle,
    make_reed_solomon_needle,
    make_sparse_jl,
)
from sparsetheory.bandits.environments.random_codes import largest_inner_product
from sparsetheory.bandits.environments.reed_solomon import code_words

CODES = [(2, 2, 2), (5, 5, 2), (7, 6, 3), (5, 4, 3), (11, 8, 2), (3, 2, 2)]


def _largest_error(instance):
    return np.abs(instance.rewards - instance.features() @ instance.theta).max()


@pytest.mark.parametrize(("q", "s", "k"), CODES)
def test_codes_are_values_of_polynomials(q, s, k):
    coefficients = np.array(list(product(range(q), repeat=k)))[:, ::-1]  # of row a the digits of a, the constant first
    values = sum(coefficients[:, [i]] * np.arange(s) ** i for i in range(k)) % q
    np.testing.assert_array_equal(code_words(q, s, k).codes, values)
    np.testing.assert_array_equal(code_words(q, s, k, q + 2).codes, values[: q + 2])


@pytest.mark.parametrize(("q", "s", "k"), CODES)
def test_inner_products_of_codes_are_few_and_the_largest_is_attained(q, s, k):
    instance = make_reed_solomon_needle(q, s, k, needle=1)
    features = instance.features()
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0)
    agreements = s * (features @ features.T)
    np.fill_diagonal(agreements, 0)
    np.testing.assert_allclose(agreements, agreements.round(), atol=1e-9)
    assert agreements.max().round() == k - 1
    assert instance.coherence == (k - 1) / s
    np.testing.assert_allclose(instance.table.inner(1), features @ features[1], atol=1e-12)


@pytest.mark.parametrize(("q", "s", "k"), CODES)
def test_the_uniform_design_on_codes_is_optimal(q, s, k):
    features = make_reed_solomon_needle(q, s, k, needle=0).features()
    rank = s * (q - 1) + 1
    left, sizes, _ = np.linalg.svd(features, full_matrices=False)
    assert np.sum(sizes > 1e-9 * sizes[0]) == rank
    # Leverages of the uniform design: n times the squared norms of rows of an orthonormal basis of the columns.
    leverages = len(features) * np.square(left[:, :rank]).sum(axis=1)
    np.testing.assert_allclose(leverages, rank, rtol=1e-9)
    design = g_optimal_design(features)
    assert design.rank == rank
    assert leverage(features, design).max() >= rank * (1 - 1e-9)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("q", "s", "k"), CODES)
def test_misspecification_of_codes_is_exact(q, s, k, centred):
    for needle in (0, 2, q**k - 1):
        instance = make_reed_solomon_needle(q, s, k, needle, centred=centred)
        assert np.count_nonzero(instance.theta) == instance.n_nonzero == s
        assert np.linalg.norm(instance.theta) <= 1 + 1e-12
        np.testing.assert_allclose(_largest_error(instance), instance.eps, rtol=1e-12)
        np.testing.assert_allclose(instance.linear_rewards(), instance.features() @ instance.theta, atol=1e-12)
    mu = (k - 1) / s
    assert instance.eps == pytest.approx(mu / (1 + mu) if centred else mu, rel=1e-12)


def test_a_million_actions_are_small_integers():
    instance = make_reed_solomon_needle(17, 16, 5, needle=123_456)
    assert instance.codes.shape == (17**5, 16)
    assert instance.codes.dtype == np.uint8
    linear = instance.linear_rewards()
    counts = np.bincount(np.rint(16 * linear).astype(int))
    assert counts[16] == 1
    assert counts[4] == 29_120  # binom(16, 4) (q - 1): words at the smallest distance
    assert counts[5:16].sum() == 0
    np.testing.assert_allclose(np.abs(linear - instance.rewards).max(), instance.eps)
    np.testing.assert_array_equal(instance.features([0, 5]), _rows(instance))


def _rows(instance):
    dense = np.zeros((2, instance.n_features))
    for i, action in enumerate((0, 5)):
        dense[i, 17 * np.arange(16) + instance.codes[action]] = 0.25
    return dense


def test_large_fields_take_two_bytes():
    instance = make_reed_solomon_needle(257, 2, 2, needle=3)
    assert instance.codes.dtype == np.uint16
    assert instance.codes.max() == 256


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((6, 4, 2), "q must be a prime number; got 6"),
        ((1, 1, 2), "q"),
        ((5, 6, 2), "s"),
        ((5, 4, 5), "k"),
        ((5, 4, 1), "k"),
        ((5, 4, 2, 25), "needle"),
        ((5, 4, 2, -1), "needle"),
        ((101, 50, 20), r"q \*\* k \* s"),
        ((5.0, 4, 2), "q"),
    ],
)
def test_bad_codes_are_refused(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}( must be|)"):
        make_reed_solomon_needle(*arguments)


@given(st.integers(2, 60), st.sampled_from([0.3, 0.5, 0.8]), st.integers(0, 2**32 - 1))
def test_random_directions_are_as_incoherent_as_stated(n_actions, tau, seed):
    instance = make_jl_needle(n_actions, tau, random_state=seed)
    products = instance.features() @ instance.features().T - np.eye(n_actions)
    np.testing.assert_allclose(np.abs(products).max(), instance.coherence, atol=1e-12)
    np.testing.assert_allclose(_largest_error(instance), instance.eps, atol=1e-12)
    assert instance.eps <= instance.coherence + 1e-12
    assert instance.coherence <= tau


def test_too_few_features_are_refused():
    with pytest.raises(ValueError, match="n_features must allow 50 directions"):
        make_jl_needle(50, 0.1, n_features=2, random_state=0)


def test_largest_inner_products_are_found_across_blocks():
    rows = np.zeros((2100, 2100 // 3))
    rows[np.arange(2100), np.arange(2100) % 700] = 1.0
    rows[:700] *= 0.5
    assert largest_inner_product(rows) == 1.0
    assert largest_inner_product(rows[:1400]) == 0.5


def test_sparse_random_rows_keep_their_promise():
    failures = 0
    for seed in range(40):
        instance = make_sparse_jl(60, 0.4, fail=0.3, random_state=seed)
        features = instance.features()
        assert np.all(np.count_nonzero(features, axis=1) == instance.n_nonzero)
        products = features @ features.T
        np.testing.assert_allclose(np.diag(products), 1.0)
        np.testing.assert_allclose(instance.table.inner(3), products[3], atol=1e-12)
        np.testing.assert_allclose(_largest_error(instance), instance.eps, atol=1e-12)
        failures += largest_inner_product(features) > 0.4 + 1e-12
    # Binomial with 40 draws of probability at most 0.3: 26 or more have probability below 1e-5.
    assert failures < 26


def test_a_needle_without_features_and_one_for_each():
    plain = make_needle(7, 3.0, random_state=1)
    assert (plain.rewards.max(), plain.rewards.sum(), plain.eps) == (3.0, 3.0, 1.5)
    assert _largest_error(plain) == 1.5
    assert make_needle(1).eps == 0.0
    basis = make_basis_needle(6, 2.0, random_state=1)
    assert _largest_error(basis) == basis.eps == 0.0
    np.testing.assert_array_equal(basis.features(), np.eye(6))
    assert np.count_nonzero(basis.theta) == 1
    assert basis.problem(dtype=np.float32).features.dtype == np.float32
    assert basis.problem().gap(basis.needle) == 0.0
    with pytest.raises(AttributeError, match="no codes"):
        _ = plain.codes


def test_nobody_finds_needles_more_often_than_the_bound():
    n_actions, n_queries, trials = 20, 6, 2000
    rng, found = np.random.default_rng(0), 0
    for _ in range(trials):
        problem = make_needle(n_actions, random_state=rng).problem()
        order = rng.permutation(n_actions)
        answers = problem.query(order[:n_queries])
        guess = order[np.argmax(answers)] if answers.any() else order[n_queries]
        found += problem.gap(guess) == 0
    best = bounds.needle_success(n_queries, n_actions)
    # The strategy attains the bound, so both sides are bounded by four standard deviations.
    assert abs(found / trials - best) < 4 * np.sqrt(best * (1 - best) / trials)
