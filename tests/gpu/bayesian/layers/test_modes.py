"""Ways of sampling for a while, and the divergence of a whole model."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.bayesian import BayesLinear, bayesianise, kl_divergence, sampling
from sparsetheory.gpu.core.models import MLP


def test_every_layer_gets_its_own_way_back_also_after_an_exception():
    model = bayesianise(MLP([4, 4, 4]), 0.5, generator=0)
    model[2].sampling, own = "weights", torch.Generator()
    model[0].generator = own
    with sampling(model, "mean", 0):
        assert {model[0].sampling, model[2].sampling} == {"mean"}
        assert model[0].generator is model[2].generator is not own
    with pytest.raises(RuntimeError), sampling(model, "mean", 0):
        model(torch.ones(2, 3))
    assert (model[0].sampling, model[2].sampling) == ("local", "weights")
    assert (model[0].generator, model[2].generator) == (own, None)


def test_without_a_generator_each_layer_keeps_its_own():
    layer = BayesLinear(2, 2, generator=0)
    own = layer.generator
    with sampling(layer, "weights"):
        assert layer.generator is own


def test_a_seed_fixes_the_noise_of_all_layers():
    model, x = bayesianise(MLP([4, 8, 3]), 0.9, sigma_init=(0.5, 0.0), generator=0), torch.ones(2, 4)
    found = []
    for seed in (1, 1, 2):
        with sampling(model, "weights", seed):
            found.append(model(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_bad_ways_change_nothing():
    layer = BayesLinear(2, 2)
    with pytest.raises(ValueError, match="how must be one of"), sampling(layer, "none"):
        pass
    assert layer.sampling == "local"


def test_shared_layers_count_once():
    layer = BayesLinear(3, 3, prior_std=0.1)
    model = nn.Sequential(layer, nn.Sequential(layer), BayesLinear(3, 3, prior_std=0.2))
    torch.testing.assert_close(kl_divergence(model), layer.kl(0.1) + model[2].kl(0.2))
    torch.testing.assert_close(kl_divergence(model, 1.0), layer.kl(1.0) + model[2].kl(1.0))


def test_a_model_without_random_weights_is_refused():
    with pytest.raises(ValueError, match="model must have layers with normal weights"):
        kl_divergence(MLP([2, 2]))
