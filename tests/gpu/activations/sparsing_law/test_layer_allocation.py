import pytest
import torch

from sparsetheory.gpu.activations import allocate_neurons, cett, cett_threshold, neuron_norms


@pytest.fixture
def hidden(device):
    generator = torch.Generator().manual_seed(0)
    layers = {}
    for power in (1, 2, 4):
        h = torch.randn(40, 96, generator=generator) ** power
        layers[f"power {power}"] = (h.to(device), torch.randn(24, 96, generator=generator).to(device))
    return layers


def active(hidden, thresholds):
    return sum(float((neuron_norms(*hidden[name]) >= eps).double().mean()) for name, eps in thresholds.items()) / 3


def loss(hidden, thresholds):
    return sum(float(cett(*hidden[name], eps).square().mean()) for name, eps in thresholds.items())


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_budget_is_kept_and_the_error_is_below_that_of_equal_shares(hidden, density):
    found = allocate_neurons(hidden, density)
    assert density - 0.05 < active(hidden, found) <= density + 1e-9
    equal = {name: float(neuron_norms(*layer).flatten().quantile(1 - density)) for name, layer in hidden.items()}
    assert loss(hidden, found) < loss(hidden, equal)


def test_the_error_is_below_that_of_the_same_cett(hidden):
    same = {name: cett_threshold(*layer, 0.4) for name, layer in hidden.items()}
    found = allocate_neurons(hidden, active(hidden, same), n_options=129)
    assert loss(hidden, found) < loss(hidden, same)


def test_arguments_that_are_refused(hidden):
    with pytest.raises(ValueError, match=r"density must be a number in \(0, 1\); got 0"):
        allocate_neurons(hidden, 0)
    with pytest.raises(ValueError, match="n_options must be at least 2; got 1"):
        allocate_neurons(hidden, 0.5, n_options=1)
