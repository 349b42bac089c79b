"""Posterior masks keep the best scores, exactly as many as asked for."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.bayesian import bayesianise, posterior_masks, removal_score, variational_layers
from sparsetheory.gpu.core.models import MLP


def _network(density=1.0, seed=0):
    return bayesianise(
        MLP([10, 20, 5]), density, mu_std=0.3, sigma_init=(0.1, 0.05), prior_std=0.3, dense_first=False, generator=seed
    )


@pytest.mark.parametrize("criterion", ["snr", "mean", "savage_dickey", "snr_exp_abs"])
@pytest.mark.parametrize("density", [0.0, 0.123, 0.5, 1.0])
def test_the_best_scores_of_all_layers_together(criterion, density):
    model = _network()
    masks = posterior_masks(model, density, criterion)
    scores = [
        removal_score(layer.weight, layer.sigma, criterion, prior_std=0.3).double().flatten()
        for layer in variational_layers(model).values()
    ]
    kept, together = torch.cat([mask.flatten() for mask in masks.values()]), torch.cat(scores)
    assert masks.n_nonzero == 300 - round((1 - density) * 300)
    if 0 < density < 1:
        assert together[kept].min() >= together[~kept].max()


def test_scores_below_zero_are_not_taken_by_their_size():
    # Removal that raises the evidence has a negative score.
    model = bayesianise(nn.Sequential(nn.Linear(2, 1)), 1.0, generator=0)
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.0, 0.5]]))
        model[0].rho.fill_(-2.0)
    scores = removal_score(model[0].weight, model[0].sigma, "savage_dickey", prior_std=100.0)
    assert scores[0, 0] < 0 < scores[0, 1] < -scores[0, 0]
    kept = posterior_masks(model, 0.5, "savage_dickey", prior_std=100.0)["0.weight"]
    assert kept.tolist() == [[False, True]]


def test_layers_by_themselves():
    masks = posterior_masks(_network(), 0.25, scope="layer")
    assert masks.densities == {"0.weight": 0.25, "2.weight": 0.25}
    assert posterior_masks(_network(), 0.25).densities != masks.densities


def test_weights_off_the_masks_of_layers_go_first():
    model = _network(0.3)
    inside = posterior_masks(model, 0.2)
    assert inside.n_nonzero == 60
    for mask, layer in zip(posterior_masks(model, 0.9).values(), variational_layers(model).values(), strict=True):
        assert torch.equal(mask, layer.mask)
    for mask, layer in zip(inside.values(), variational_layers(model).values(), strict=True):
        assert not (mask & ~layer.mask).any()


def test_what_is_off_a_mask_does_not_take_the_place_of_scores_below_zero():
    model = _network(0.3)
    with torch.no_grad():
        for layer in variational_layers(model).values():
            layer.weight.mul_(0.01)
    scores = removal_score(
        model[0].weight[model[0].mask], model[0].sigma[model[0].mask], "savage_dickey", prior_std=5.0
    )
    assert (scores < 0).all()
    for scope in ("global", "layer"):
        masks = posterior_masks(model, 0.2, "savage_dickey", scope=scope, prior_std=5.0)
        assert masks.n_nonzero == 60


def test_a_given_prior_counts_for_all_layers():
    model = bayesianise(MLP([6, 8, 4]), 1.0, mu_std=0.3, sigma_init=(0.1, 0.05), generator=0)
    model[0].prior_std, model[2].prior_std = 0.2, 5.0
    own, given = (posterior_masks(model, 0.4, "savage_dickey", prior_std=std) for std in (None, 1.0))
    model[0].prior_std = model[2].prior_std = 1.0
    assert given == posterior_masks(model, 0.4, "savage_dickey")
    assert given != own


def test_bad_input():
    with pytest.raises(ValueError, match="density must be"):
        posterior_masks(_network(), 1.5)
    with pytest.raises(ValueError, match="scope must be"):
        posterior_masks(_network(), 0.5, scope="row")
    with pytest.raises(ValueError, match="criterion must be"):
        posterior_masks(_network(), 0.5, "magnitude")
    with pytest.raises(ValueError, match="model must have layers with normal weights"):
        posterior_masks(MLP([2, 2]), 0.5)
