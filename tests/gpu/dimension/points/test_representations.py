"""Dimension of what layers return, and power laws."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.dimension import fit_scaling_law, mle_dimension, representation_dimension, twonn_dimension


def inputs(n=400, p=3):
    return torch.rand(n, p, generator=torch.Generator().manual_seed(0))


def test_outputs_of_a_layer_are_what_is_measured():
    x, model = inputs(), MLP([3, 32, 2], activation="tanh")
    expected = twonn_dimension(torch.tanh(model[0](x)).detach())
    assert representation_dimension(model, "1", x.split(90), estimator=twonn_dimension) == pytest.approx(expected)
    # Batch by batch as at once, and by keyword.
    assert representation_dimension(model, "0", [x]) == pytest.approx(mle_dimension(model[0](x).detach()), rel=1e-5)


def test_outputs_with_several_axes_are_one_point_per_sample():
    model = nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 2))
    x = inputs()
    expected = mle_dimension(model(x).detach().flatten(1))
    assert representation_dimension(model, "1", [(x,)]) == pytest.approx(expected)


def test_one_number_for_each_sample_is_a_point_of_one_coordinate():
    x = inputs(p=1)
    model = torch.nn.Sequential(torch.nn.Flatten(0))
    assert representation_dimension(model, "0", x.split(90)) == pytest.approx(mle_dimension(x))
    with pytest.raises(TypeError, match="layer must return one row for each sample; '' returns a single number"):
        representation_dimension(_Total(), "", [x])


class _Total(torch.nn.Module):
    def forward(self, x):
        return x.sum()


def test_nothing_stays_attached_to_the_model():
    model = MLP([3, 8, 2])
    model[1].eval()
    with pytest.raises(ValueError, match="X must hold no point twice"):
        representation_dimension(model, "1", [torch.zeros(50, 3)])
    with pytest.raises(RuntimeError):
        representation_dimension(model, "1", [torch.zeros(50, 4)])
    assert not any(module._forward_hooks for module in model.modules())
    assert [module.training for module in model] == [True, False, True]


def test_outputs_are_copied_before_the_model_writes_into_them():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True))
    x = inputs()
    expected = mle_dimension(nn.functional.linear(x, model[0].weight, model[0].bias).detach())
    assert representation_dimension(model, "0", [x]) == pytest.approx(expected)


class _Pair(nn.Module):
    def forward(self, x):
        return x, x


def test_bad_layers_are_refused():
    model = nn.Sequential(nn.Linear(3, 2))
    unused = nn.ModuleDict({"used": nn.Linear(3, 2), "idle": nn.Linear(3, 2)})
    unused.forward = lambda x: unused["used"](x)
    with pytest.raises(ValueError, match="layer must be the name of a module"):
        representation_dimension(model, "head", [inputs()])
    with pytest.raises(ValueError, match="layer must be called"):
        representation_dimension(unused, "idle", [inputs()])
    with pytest.raises(TypeError, match="layer must return a tensor"):
        representation_dimension(nn.Sequential(_Pair()), "0", [inputs()])
    with pytest.raises(TypeError, match="batches must be an iterable of batches"):
        representation_dimension(model, "0", inputs())


def test_a_power_law_is_found_again():
    N = np.array([10, 100, 1000])
    law = fit_scaling_law(N, 3 * N**-0.25)
    assert (law.slope, law.dimension, law.standard_error) == pytest.approx((-0.25, 4.0, 0.0), abs=1e-12)
    np.testing.assert_allclose(law.predict(N), 3 * N**-0.25)


def test_the_fit_and_its_error_are_those_of_a_regression():
    from scipy.stats import linregress

    rng = np.random.default_rng(0)
    N = np.array([50, 50, 100, 200, 400])
    loss = N**-0.3 * np.exp(0.1 * rng.standard_normal(5))
    law, expected = fit_scaling_law(N, loss), linregress(np.log(N), np.log(loss))
    found = law.slope, law.intercept, law.standard_error
    assert found == pytest.approx((expected.slope, expected.intercept, expected.stderr))


def test_losses_that_do_not_fall_have_no_dimension():
    law = fit_scaling_law([1, 10], [1.0, 2.0])
    assert law.dimension == fit_scaling_law([1, 10], [2.0, 2.0]).dimension == math.inf
    assert math.isnan(law.standard_error)


@pytest.mark.parametrize(
    ("N", "loss", "message"),
    [
        ([1, 2], [1.0], "loss must have one entry"),
        ([1, 1], [1.0, 2.0], "N must hold at least two different"),
        ([1, 2], [1.0, 0.0], "loss must hold finite positive"),
        ([[1, 2]], [[1.0, 1.0]], "N must hold finite positive"),
    ],
)
def test_bad_losses_are_refused(N, loss, message):
    with pytest.raises(ValueError, match=message):
        fit_scaling_law(N, loss)
