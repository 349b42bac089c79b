"""Predictions over drawn weights, against laws that are known."""

import math

import pytest
import torch
from torch import nn

from sparsetheory.gpu.bayesian import BayesLinear, bayesianise, predict_mc, sampling
from sparsetheory.gpu.core.models import MLP


def _model(sigma=0.3):
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 3))
    return bayesianise(model, 0.6, mu_std="fan_in", sigma_init=(sigma, 0.0), generator=0)


def _x(n=11):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(1))


def test_it_is_the_average_over_the_sets_of_weights():
    model, x = _model(), _x()
    found = predict_mc(model, x, 5, 3)
    model.eval()
    with torch.no_grad(), sampling(model, "weights", 3):
        probs = torch.stack([model(x).double().softmax(-1) for _ in range(5)])
    torch.testing.assert_close(found.mean, probs.mean(0))
    torch.testing.assert_close(found.variance, probs.var(0, correction=0))
    entropy = -(probs.mean(0) * probs.mean(0).log()).sum(-1)
    torch.testing.assert_close(found.entropy, entropy)
    torch.testing.assert_close(found.mutual_information, entropy + (probs * probs.log()).sum(-1).mean(0))


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_batches_change_nothing(batch_size):
    model, x = _model(), _x()
    whole, parts = predict_mc(model, x, 4, 3), predict_mc(model, x, 4, 3, batch_size=batch_size)
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts.mutual_information, whole.mutual_information, rtol=1e-4, atol=1e-5)


def test_outputs_of_a_linear_regression_have_the_known_variance():
    layer = BayesLinear(4, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.rho.copy_(torch.randn(2, 4, generator=torch.Generator().manual_seed(0)))
    x, n = _x()[:, :4].double(), 20000
    found = predict_mc(layer, x, n, 3, outputs="values")
    variance = x.square() @ layer.sigma.detach().square().T
    expected = x @ layer.weight.detach().T + layer.bias.detach()
    assert ((found.mean - expected).abs() < 6 * (variance / n).sqrt()).all()
    assert ((found.variance / variance - 1).abs() < 6 * math.sqrt(2 / n)).all()
    assert found.entropy is None
    assert found.mutual_information is None


def test_large_outputs_do_not_cancel():
    layer = BayesLinear(1, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.bias.fill_(1e9)
    found = predict_mc(layer, torch.ones(1, 1, dtype=torch.float64), 400, 0, outputs="values")
    assert 0.5 < float(found.variance / layer.sigma.detach() ** 2) < 1.5


def test_one_set_of_weights_has_no_spread():
    found = predict_mc(_model(), _x(), 1, 0)
    assert (found.variance == 0).all()
    assert found.mutual_information.abs().max() < 1e-12


def test_information_lies_between_nothing_and_the_entropy():
    found = predict_mc(_model(3.0), _x(), 30, 0)
    assert (found.mutual_information >= 0).all()
    assert (found.mutual_information <= found.entropy).all()
    assert (found.entropy <= math.log(3) + 1e-12).all()
    assert found.mutual_information.mean() > 0.05


class _Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = BayesLinear(6, 3), nn.BatchNorm1d(3)

    def forward(self, x):
        if len(x) == 2:
            raise RuntimeError("stop")
        return self.norm(self.layer(x))


def test_modes_come_back_also_after_an_exception():
    model = _Failing().train()
    model.norm.eval()
    for x in (_x(3), _x(5)):
        try:
            predict_mc(model, x, 2, 0, batch_size=3)
        except RuntimeError as error:
            assert str(error) == "stop"  # noqa: PT017
        assert (model.training, model.layer.training, model.norm.training) == (True, True, False)
        assert (model.layer.sampling, model.layer.generator) == ("local", None)


def test_the_global_stream_is_the_default():
    model, x = _model(), _x()
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(predict_mc(model, x, 2).mean)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_layer_that_is_called_twice_has_one_set_of_weights():
    layer, seen = BayesLinear(3, 3, bias=False), []
    layer.register_forward_hook(lambda _, args, output: seen.append((args[0], output)))
    with torch.no_grad():
        layer.rho.fill_(1.0)
    predict_mc(nn.Sequential(layer, layer), torch.eye(3), 2, 0, outputs="values")
    for first, second in (seen[:2], seen[2:]):  # the first output is the transposed weight
        torch.testing.assert_close(second[1], second[0] @ first[1])
    assert not torch.allclose(seen[0][1], seen[2][1])


def test_layers_may_share_a_parameter():
    model = nn.Sequential(BayesLinear(6, 6), BayesLinear(6, 6))
    model[1].weight = model[0].weight
    assert predict_mc(model, _x(), 3, 0).mean.shape == (11, 6)
    assert model[1].weight is model[0].weight


def test_certain_predictions_have_no_entropy_and_no_information():
    model = _model(1e-9)
    for scale in (1.0, 1e6):  # probabilities of 0 under the second one
        with torch.no_grad():
            model[4].weight.mul_(scale)
        for n_samples in (3, 7, 20):
            found = predict_mc(model, 100 * _x(300), n_samples, 0)
            assert (found.mutual_information >= 0).all()
            assert found.mutual_information.max() < 1e-9
            assert found.entropy.isfinite().all()
    assert found.entropy.max() < 0.7


def test_probabilities_of_low_precision_sum_to_one():
    found = predict_mc(_model().bfloat16(), _x().bfloat16(), 3, 0)
    assert (found.mean.sum(-1) - 1).abs().max() < 1e-12


def test_weights_are_drawn_also_where_torch_reads_them_without_a_call_of_their_layer():
    # The fast path of this layer.
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    bayesianise(model, 0.5, exclude="*out_proj", sigma_init=(0.5, 0.0), dense_first=False, generator=0)
    x = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1))
    found = predict_mc(model, x, 4, 2, outputs="values")
    assert found.variance.min() > 1e-6
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        slow = predict_mc(model, x, 4, 2, outputs="values")
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    torch.testing.assert_close(found.mean, slow.mean, rtol=1e-4, atol=1e-4)
    assert model.training


def test_the_model_is_left_as_it_was():
    model = _model().requires_grad_(False)
    model[4].requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = predict_mc(model, _x(), 3, 0)
    assert not found.mean.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [value.requires_grad for value in model.parameters()] == [False] * 5 + [True] * 3


def test_outputs_that_are_no_tensor_are_refused():
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = BayesLinear(6, 3)

        def forward(self, x):
            return self.layer(x), x

    with pytest.raises(ValueError, match="model must return a tensor, or an output that has logits; got tuple"):
        predict_mc(Several(), _x())


def test_several_arguments_and_positions():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = BayesLinear(6, 3)

        def forward(self, a, b):
            return self.layer(a + b)

    model, x = Two(), torch.ones(2, 5, 6)
    by_place, by_name = predict_mc(model, (x, x), 2, 0), predict_mc(model, {"a": x, "b": x}, 2, 0)
    assert torch.equal(by_place.mean, by_name.mean)
    assert by_place.entropy.shape == (2, 5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="model must have layers with normal weights"):
        predict_mc(MLP([6, 3]), _x())
    for arguments, words in (
        ({"n_samples": 0}, "n_samples must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"outputs": "probs"}, "outputs must be"),
        ({"generator": "seed"}, "generator must be"),
    ):
        with pytest.raises(ValueError, match=words):
            predict_mc(_model(), _x(), **arguments)
