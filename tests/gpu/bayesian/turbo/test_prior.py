"""The three-layer prior of one weight."""

import numpy as np
import pytest
from scipy import integrate, stats

from sparsetheory.bayesian import chain_messages
from sparsetheory.gpu.bayesian import WeightPrior


def _moments(shape, seed=0):
    rng = np.random.default_rng(seed)
    return 10 ** rng.uniform(-4, 1, shape), rng.standard_normal(shape) - 1


def test_evidence_is_an_integral_over_the_precision():
    prior = WeightPrior((1, 2), "iid", on_shape=1.5, on_rate=0.7, off_shape=1.2, group_size=3)
    second = np.array([[0.3, 2.0]])
    prior.update(second, 1e-2)

    def integral(a, b, energy):
        law = stats.gamma(a, scale=1 / b)

        def inside(log_rho):
            rho = np.exp(log_rho)
            return law.pdf(rho) * rho ** (3 / 2) * np.exp(-rho * energy / 2) * rho

        return integrate.quad(inside, -25, 15, limit=400)[0]

    expected = [np.log(integral(1.5, 0.7, e) / integral(1.2, 1e-2, e)) for e in second.ravel()]
    np.testing.assert_allclose(prior.log_odds.ravel(), expected, rtol=1e-7)


def test_each_row_is_a_chain_of_its_own():
    second, _ = _moments((3, 7))
    prior = WeightPrior((3, 7), activation=0.1, deactivation=0.3)
    prior.update(second, 1e-3)
    for r in range(3):
        row = chain_messages(prior.log_odds[r], activation=0.1, deactivation=0.3)
        np.testing.assert_allclose(prior.probability[r], row.probability, rtol=1e-12)
        np.testing.assert_allclose(prior.extrinsic[r], row.extrinsic, atol=1e-12)


def test_a_single_column_has_no_neighbours():
    second, _ = _moments((5, 1))
    chain, iid = (WeightPrior((5, 1), structure) for structure in ("chain_rows", "iid"))
    np.testing.assert_allclose(chain.update(second, 1e-3), iid.update(second, 1e-3), rtol=1e-12)


@pytest.mark.parametrize("structure", ["grid_belief_propagation", "grid_mean_field"])
@pytest.mark.parametrize("shape", [(1, 6), (6, 1)])
def test_a_grid_of_one_line_is_a_chain(structure, shape):
    second, _ = _moments(shape)
    grid, chain = WeightPrior(shape, structure), WeightPrior((1, 6))
    np.testing.assert_allclose(
        grid.update(second, 1e-3).ravel(), chain.update(second.reshape(1, 6), 1e-3).ravel(), rtol=1e-10
    )


def test_a_memoryless_chain_is_independent():
    second, logs = _moments((2, 5))
    chain = WeightPrior((2, 5), activation=0.3, deactivation=0.7)
    iid = WeightPrior((2, 5), "iid", activation=0.3, deactivation=0.7)
    np.testing.assert_allclose(chain.update(second, 1e-2), iid.update(second, 1e-2), rtol=1e-12)
    assert chain.kl(second, logs) == pytest.approx(iid.kl(second, logs), rel=1e-12)


@pytest.mark.parametrize("factorisation", ["collapsed", "meanfield"])
@pytest.mark.parametrize("structure", ["iid", "chain_rows", "grid_mean_field"])
def test_more_updates_at_fixed_weights_lower_the_divergence_until_it_rests(structure, factorisation):
    second, logs = _moments((4, 6), 1)
    prior = WeightPrior((4, 6), structure, factorisation=factorisation)
    found = []
    for _ in range(60):
        prior.update(second, 1e-3)
        found.append(prior.kl(second, logs))
    assert np.all(np.diff(found) <= 1e-9 * abs(found[0]))
    assert found[-2] == pytest.approx(found[-1], rel=1e-9)
    if factorisation == "collapsed" and structure != "grid_mean_field":
        assert found[0] == pytest.approx(found[-1], rel=1e-12)


def test_a_published_update_starts_from_the_states_before_it():
    second, post = np.array([[0.3, 0.01]]), np.array([[0.2, 0.2]])
    prior = WeightPrior((1, 2), "iid", factorisation="meanfield")
    for _ in range(3):
        precisions = prior.update(second, 1e-2)
        rate = post + (1 - post) * 1e-2 + second / 2
        np.testing.assert_allclose(precisions, 1.5 / rate, rtol=1e-12)
        odds = np.log(0.2 / 0.8) + np.log(1 / 1e-2) - (1 - 1e-2) * 1.5 / rate
        post = 1 / (1 + np.exp(-odds))
        np.testing.assert_allclose(prior.probability, post, rtol=1e-10)


def test_known_precisions_have_the_divergence_of_normal_laws():
    prior = WeightPrior((2, 3), initial_precision=7.0, group_size=2)
    rng = np.random.default_rng(3)
    mean, std = rng.standard_normal((2, 3, 2)), np.exp(rng.standard_normal((2, 3, 2)))
    exact = (np.log(7**-0.5 / std) + (std**2 + mean**2) * 7 / 2 - 0.5).sum()
    found = prior.kl((mean**2 + std**2).sum(-1), np.log(std).sum(-1))
    assert found == pytest.approx(exact, rel=1e-12)


def test_states_that_are_known_to_be_off_stay_off_between_neighbours_that_are_on():
    prior = WeightPrior((1, 3), activation=0.05, deactivation=0.05)
    second, off = np.array([[5.0, 5.0, 5.0]]), np.array([[False, True, False]])
    prior.update(second, 1e-3, off)
    assert prior.probability[0, 1] < 1e-60
    assert prior.probability[0, 0] > 0.9
    # A law of the states that is not the best one costs more.
    logs = np.zeros((1, 3))
    cost = prior.kl(second, logs)
    prior.update(second, 1e-3)
    assert prior.kl(second, logs) < cost - 1


def test_a_state_is_continued_exactly():
    second, logs = _moments((3, 4))
    for factorisation in ("collapsed", "meanfield"):
        first, then = (WeightPrior((3, 4), factorisation=factorisation) for _ in range(2))
        first.update(second, 1e-2)
        then.load_state_dict(first.state_dict())
        assert then.kl(second, logs) == first.kl(second, logs)
        np.testing.assert_array_equal(then.update(second[::-1], 1e-3), first.update(second[::-1], 1e-3))
        assert then.kl(second, logs) == first.kl(second, logs)


def test_states_of_other_grids_are_refused_and_change_nothing():
    prior = WeightPrior((3, 4))
    before = prior.state_dict()
    with pytest.raises(ValueError, match=r"state must be that of a grid of shape \(3, 4\); got one of 6 nodes"):
        prior.load_state_dict(WeightPrior((2, 3)).state_dict())
    assert prior.state_dict()["constant"] == before["constant"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"structure": "chain"}, "structure must be"),
        ({"activation": 0.0}, "activation must be"),
        ({"deactivation": 1.0}, "deactivation must be"),
        ({"on_rate": 0.0}, "on_rate must be"),
        ({"factorisation": "exact"}, "factorisation must be"),
        ({"group_size": 0}, "group_size must be"),
        ({"initial_precision": -1.0}, "initial_precision must be"),
        ({"shape": (0, 3)}, "shape must be"),
        ({"shape": 3}, "shape must be numbers of rows and columns; got 3"),
        ({"shape": (3,)}, r"shape must be two numbers, of rows and columns; got \(3,\)"),
    ],
)
def test_arguments_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        WeightPrior(**{"shape": (2, 3), **changes})


@pytest.mark.parametrize(
    ("second", "rate", "message"),
    [
        (np.ones((3, 2)), 0.1, r"second_moments must .* of shape \(2, 3\)"),
        (-np.ones((2, 3)), 0.1, "second_moments must be non-negative"),
        (np.full((2, 3), np.nan), 0.1, "second_moments must be non-negative and finite"),
        (np.ones((2, 3)), 1.1, "off_rate must be at most 1"),
        (np.ones((2, 3)), 0.0, "off_rate must be"),
    ],
)
def test_updates_refuse_what_is_no_moment(second, rate, message):
    prior = WeightPrior((2, 3))
    with pytest.raises(ValueError, match=message):
        prior.update(second, rate)


@pytest.mark.parametrize("off", [np.ones(6, dtype=bool), np.ones((3, 2), dtype=bool), np.full((2, 3), 0.5)])
def test_states_that_are_off_are_flags_on_the_grid(off):
    with pytest.raises(ValueError, match=r"off must be booleans of shape \(2, 3\); got"):
        WeightPrior((2, 3)).update(np.ones((2, 3)), 0.1, off)


def test_at_the_largest_rate_both_states_expect_the_same_square():
    prior = WeightPrior((2, 3), on_shape=2.0, on_rate=3.0, off_shape=4.0)
    assert prior.largest_off_rate / 4.0 == pytest.approx(3.0 / 2.0)


def test_deviations_have_the_shape_of_the_grid():
    with pytest.raises(ValueError, match=r"log_stds must have shape \(2, 3\); got \(3, 2\)"):
        WeightPrior((2, 3)).kl(np.ones((2, 3)), np.ones((3, 2)))


def test_extreme_moments_stay_finite():
    for factorisation in ("collapsed", "meanfield"):
        prior = WeightPrior((1, 4), factorisation=factorisation)
        precisions = prior.update(np.array([[0.0, 1e-24, 1e12, 1.0]]), 1e-12)
        assert np.all(np.isfinite(precisions))
        assert np.all(precisions > 0)
        assert np.isfinite(prior.kl(np.ones((1, 4)), np.zeros((1, 4))))


def test_an_idle_group_moves_by_two_parts_of_its_size_and_two():
    # Both states are alike, and the weights rest at one over the expected precision.
    L, x = 30, 0.25
    prior = WeightPrior((1, 1), "iid", group_size=L)
    for _ in range(3):
        precision = prior.update(np.full((1, 1), L * x), 1.0)[0, 0]
        moved = 1 / precision - x
        assert moved == pytest.approx((1 - x) * 2 / (L + 2), rel=1e-12)
        x = 1 / precision
