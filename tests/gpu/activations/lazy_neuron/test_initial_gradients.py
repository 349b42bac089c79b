"""Expected gradients by activations: the formula against automatic differentiation, and errors."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.activations import expected_activation_gradient


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
def test_simulated_gradients_are_those_of_autograd(loss):
    a, n = torch.tensor([0.5, 0.0, 2.0]), 400
    found = expected_activation_gradient(a, 0.7, 4, loss, 3, n_draws=n)
    source = torch.Generator().manual_seed(3)
    V = 0.7 * torch.randn(n, 4, 3, dtype=torch.float64, generator=source)
    labels = torch.randint(4, (n,), generator=source)
    x = a.double().requires_grad_()
    if loss == "squared":
        value = (V @ x - nn.functional.one_hot(labels, 4)).square().sum(1).mean() / 2
    else:
        value = nn.functional.cross_entropy(V @ x, labels)
    value.backward()
    assert torch.allclose(found.monte_carlo, x.grad, rtol=0.0, atol=1e-12)
    assert found.closed_form.dtype == torch.float64


def test_the_closed_form_of_the_squared_loss_is_exact():
    a = torch.tensor([1.0, 3.0])
    found = expected_activation_gradient(a, 2.0, 5, "squared", n_draws=10)
    assert torch.allclose(found.closed_form, 20.0 * a.double(), rtol=1e-14)


def test_drawing_in_parts_is_the_same_estimate(monkeypatch):
    from sparsetheory.gpu.activations.lazy_neuron import initial_gradients

    a = torch.rand(6)
    monkeypatch.setattr(initial_gradients, "_CHUNK", 100)
    found = expected_activation_gradient(a, 1.0, 3, "cross_entropy", 0, n_draws=4000)
    gap = (found.monte_carlo - found.closed_form).abs()
    assert (gap < 5 * found.standard_error).all()
    assert (found.standard_error > 0).all()


def test_equal_seeds_give_equal_draws(device):
    a = torch.rand(6, device=device)
    one, two = (expected_activation_gradient(a, 1.0, 3, "cross_entropy", 7, n_draws=50) for _ in range(2))
    assert torch.equal(one.monte_carlo, two.monte_carlo)
    assert one.monte_carlo.device.type == device


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight_std": 0.0}, "weight_std must be a finite positive number"),
        ({"n_classes": 1}, "n_classes must be an integer from 2"),
        ({"n_draws": 1}, "n_draws must be an integer from 2"),
        ({"loss": "hinge"}, "loss must be one of 'cross_entropy', 'squared'"),
        ({"a": torch.ones(2, 2)}, r"a must be a vector of finite numbers; got shape \(2, 2\)"),
    ],
)
def test_wrong_arguments_are_named(change, words):
    given = {"a": torch.ones(2), "weight_std": 1.0, "n_classes": 3, "loss": "squared"} | change
    with pytest.raises(ValueError, match=words):
        expected_activation_gradient(**given)
