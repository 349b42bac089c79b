"""Most probable supports of grids against enumeration of all masks of their form."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from sparsetheory.bayesian.markov.support_priors import SupportBelief
from sparsetheory.gpu.bayesian import NetworkTurboVBI, WeightGrid, WeightPrior, bayesianise, most_probable_masks
from sparsetheory.gpu.bayesian.compression.most_probable import _output_axis, most_probable_states
from sparsetheory.gpu.core.models import MLP

_P01, _P10 = 0.15, 0.3


def _prior(shape, structure, seed, scale=2.0):
    prior = WeightPrior(shape, structure, activation=_P01, deactivation=_P10)
    moments = 0.3 * np.random.default_rng(seed).chisquare(1, shape) ** scale
    prior.update(moments, off_rate=0.02)
    return prior


def _log_posterior(states, prior):
    """Log probability of states, rows being chains or independent, plus evidence; a loop over every node."""
    density, total = _P01 / (_P01 + _P10), 0.0
    for row, evidence in zip(states, prior.log_odds, strict=True):
        before = None
        for on, ell in zip(row, evidence, strict=True):
            p = density if before is None or prior.structure == "iid" else (1 - _P10 if before else _P01)
            total += np.log(p if on else 1 - p) + on * ell
            before = on
    return total


def _blocks(length, size):
    return [range(i, i + size) for i in range(0, length // size * size, size)] + [
        range(i, i + 1) for i in range(length // size * size, length)
    ]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("structure", ["chain_rows", "iid"])
@pytest.mark.parametrize(("shape", "axis", "size"), [((3, 4), 0, 1), ((5, 3), 0, 4), ((4, 3), 0, 2), ((2, 9), 1, 4)])
def test_no_mask_of_the_form_is_more_probable(shape, axis, size, structure, seed):
    prior = _prior(shape, structure, seed)
    found = most_probable_states(prior, "path", axis=axis, size=size)
    groups = _blocks(shape[axis], size)
    best, weight = None, -np.inf
    for choice in itertools.product([False, True], repeat=len(groups) * shape[1 - axis]):
        states = np.zeros(shape, dtype=bool)
        for (g, other), on in zip(itertools.product(range(len(groups)), range(shape[1 - axis])), choice, strict=True):
            for i in groups[g]:
                states[(i, other) if axis == 0 else (other, i)] = on
        if (value := _log_posterior(states, prior)) > weight:
            best, weight = states, value
    np.testing.assert_array_equal(found, best)


@pytest.mark.parametrize("structure", ["chain_rows", "iid", "grid_belief_propagation"])
def test_marginals_decide_by_one_half_and_add_up_in_blocks(structure):
    prior = _prior((9, 7), structure, 3)
    np.testing.assert_array_equal(most_probable_states(prior, "marginal"), prior.probability > 0.5)
    logits = np.log(prior.probability / (1 - prior.probability))
    blocks = most_probable_states(prior, "marginal", axis=0, size=4)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 9)):
        wanted = logits[rows].sum(0) > 0
        assert (blocks[rows] == wanted).all()


def test_independent_states_have_one_answer():
    prior = _prior((8, 30), "iid", 5)
    for size in (1, 4):
        path, marginal = (most_probable_states(prior, rule, size=size) for rule in ("path", "marginal"))
        np.testing.assert_array_equal(path, marginal)


@pytest.mark.parametrize("rule", ["path", "marginal"])
def test_a_grid_of_one_column_is_one_chain(rule):
    column = _prior((9, 1), "grid_belief_propagation", 2)
    row = WeightPrior((1, 9), "chain_rows", activation=_P01, deactivation=_P10)
    row.factors = column.factors
    for size in (1, 4):
        found = most_probable_states(column, rule, axis=0, size=size)
        np.testing.assert_array_equal(found[:, 0], most_probable_states(row, rule, axis=1, size=size)[0])


def test_ties_are_off():
    prior = WeightPrior((4, 3), "chain_rows", activation=0.5, deactivation=0.5)
    belief = SupportBelief(np.full(12, 0.5), np.zeros(12), np.zeros(12), 0.0)
    prior.factors = type(prior.factors)(belief, np.ones(12), 0.0, 0.1)
    for rule in ("path", "marginal"):
        for size in (1, 4):
            assert not most_probable_states(prior, rule, size=size).any()


def _turbo(prior, grids=None, widths=(12, 9, 4)):
    model = bayesianise(MLP(widths), 1.0, mu_std=0.16, sigma_init=(0.03, 0.0), generator=1)
    adam = torch.optim.Adam(model.parameters(), lr=0.05)
    turbo = NetworkTurboVBI(
        model, adam, n_samples=50, warmup_steps=0, anneal_steps=1, update_every=1, prior=prior, grids=grids
    )
    turbo.n_steps = 1
    turbo.update()
    return model, turbo


@pytest.mark.parametrize("prior", ["chain_rows", "chain_columns", "iid", "grid_mean_field"])
def test_single_weights_by_marginals_are_the_masks_of_the_network(prior):
    _, turbo = _turbo(prior)
    assert 0.02 < turbo.masks().density < 0.9
    assert most_probable_masks(turbo) == turbo.masks()


@pytest.mark.parametrize("rule", ["path", "marginal"])
@pytest.mark.parametrize("prior", ["chain_rows", "chain_columns"])
def test_blocks_join_outputs(prior, rule):
    # In (out, in), whichever way chains run.
    _, turbo = _turbo(prior)
    masks = most_probable_masks(turbo, rule=rule, block=4)
    first = masks["0.weight"]
    assert first.any()
    assert not first.all()
    for start in (0, 4):
        assert (first[start : start + 4] == first[start]).all()
    assert (masks["2.weight"] == masks["2.weight"][0]).all()
    states = most_probable_states(turbo.priors["0"], rule, axis=0 if prior == "chain_rows" else 1, size=4)
    np.testing.assert_array_equal(first.numpy(), states if prior == "chain_rows" else states.T)


def test_groups_keep_their_form_and_convolutions_single_weights():
    grid = WeightGrid(rows=(0,), columns=(2,), group=(1,), view=(3, 3, 12))
    _, turbo = _turbo("chain_rows", {"0": grid})
    for block in (1, 4):
        masks = most_probable_masks(turbo, rule="path", block=block)
        by_group = masks["0.weight"].view(3, 3, 12)
        assert (by_group == by_group[:, :1]).all()
        assert by_group.any()
    model = bayesianise(nn.Sequential(nn.Conv2d(2, 8, 3)), 1.0, mu_std=0.16, generator=1)
    adam = torch.optim.Adam(model.parameters(), lr=0.05)
    turbo = NetworkTurboVBI(model, adam, n_samples=50, warmup_steps=0, anneal_steps=1, update_every=1)
    turbo.n_steps = 1
    turbo.update()
    assert most_probable_masks(turbo, block=4) == turbo.masks()
    assert most_probable_masks(turbo, rule="path")["0.weight"].shape == (8, 2, 3, 3)


def test_bad_input():
    _, turbo = _turbo("grid_mean_field")
    with pytest.raises(ValueError, match="rule must be 'marginal' for a prior on a grid"):
        most_probable_masks(turbo, rule="path")
    with pytest.raises(ValueError, match="rule must be one of"):
        most_probable_masks(turbo, rule="viterbi")
    with pytest.raises(ValueError, match="block must be one of"):
        most_probable_masks(turbo, block=2)


@pytest.mark.parametrize(
    ("grid", "axis"),
    [
        (WeightGrid(rows=(0,), columns=(1,)), 0),
        (WeightGrid(rows=(1,), columns=(0,)), 1),
        (WeightGrid(rows=(1, 2), columns=(0,), view=(2, 2, 3)), None),
    ],
)
def test_axes_of_a_view_are_no_outputs(grid, axis):
    assert _output_axis(grid, 2) == axis


def test_evidence_for_which_steps_within_a_block_decide():
    found, expected = [], []
    for moment in np.geomspace(1e-3, 1.0, 300):
        prior = WeightPrior((1, 4), "chain_rows", activation=0.05, deactivation=0.6)
        prior.update(np.full((1, 4), moment), off_rate=0.02)
        found.append(most_probable_states(prior, "path", axis=1, size=4).all())
        # On: one start and three steps from on to on; off: the same from off to off.
        on = np.log(0.05 / 0.65) + 3 * np.log(0.4) + prior.log_odds.sum()
        expected.append(on > np.log(0.6 / 0.65) + 3 * np.log(0.95))
    assert found == expected
    assert 0 < sum(found) < 300
