"""The bound for few numbers of few bits, their rounding, and the certificate."""

import dataclasses
import math
from functools import partial

import pytest
import torch
from torch import nn

from sparsetheory.certificates import Status
from sparsetheory.gpu.core import train
from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.dimension import (
    DenseProjection,
    SubspaceModel,
    certify_subspace,
    occam_bound,
    quantize_subspace,
)

GOOD = {"train_loss": 0.1, "n_components": 10, "bits": 8, "n_samples": 500, "delta": 0.05}


def test_the_bound_is_its_formula():
    expected = 0.1 + math.sqrt((10 * 8 * math.log(2) + math.log(10 * 11 * 3 / 0.05)) / 1000)
    assert occam_bound(**GOOD, n_choices=3) == pytest.approx(expected, rel=1e-14)


def test_shares_of_the_failures_sum_to_delta():
    # The failure of a single model that the slack allows, exp(-2 m slack^2), times their number, over all d.
    total = 0.0
    for d in range(1, 400):
        slack = occam_bound(0.0, d, 1, 50, 0.05)
        total += math.exp(d * math.log(2) - 2 * 50 * slack**2)
    assert total == pytest.approx(0.05 * (1 - 1 / 400), rel=1e-9)


def test_directions_in_which_it_grows():
    base = occam_bound(**GOOD)
    assert occam_bound(**{**GOOD, "n_samples": 501}) < base
    for name, value in {"n_components": 11, "bits": 9, "delta": 0.04, "train_loss": 0.2}.items():
        assert occam_bound(**{**GOOD, name: value}) > base
    assert occam_bound(**GOOD, n_choices=2) > base
    # Large numbers do not overflow.
    assert occam_bound(0.0, 2**40, 8, 2**50, 1e-300) < 0.1


@pytest.mark.parametrize("name", [*GOOD, "n_choices"])
def test_bad_numbers(name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        occam_bound(**{**GOOD, name: -1})
    with pytest.raises(ValueError, match=f"{name} must be"):
        occam_bound(**{**GOOD, name: math.nan})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_go_to_the_nearest_centre(dtype, device):
    t = torch.linspace(-1.7, 1.7, 500, dtype=dtype, device=device)
    for bits in (1, 3, 8):
        centres = torch.tensor([(2 * i + 1) / 2**bits - 1 for i in range(2**bits)], dtype=dtype, device=device) * 1.5
        rounded = quantize_subspace(t, bits, 1.5)
        assert rounded.dtype == dtype
        distances = (t[:, None] - centres).abs()
        torch.testing.assert_close((t - rounded).abs(), distances.amin(dim=1))
        assert torch.isin(rounded, centres).all()
        inside = t.abs() <= 1.5
        assert (t - rounded)[inside].abs().max() <= 1.5 / 2**bits * (1 + 1e-6)


def test_rounding_twice_is_rounding_once_and_nan_is_refused():
    t = torch.randn(100, generator=torch.Generator().manual_seed(0))
    once = quantize_subspace(t, 5, 2.0)
    assert torch.equal(quantize_subspace(once, 5, 2.0), once)
    assert torch.unique(quantize_subspace(100 * t, 1, 2.0)).tolist() == [-1.0, 1.0]
    for wrong in (torch.tensor([1.0, math.nan]), torch.tensor([1]), [0.5]):
        with pytest.raises(ValueError, match="t must be a tensor of finite"):
            quantize_subspace(wrong, 5, 2.0)
    with pytest.raises(ValueError, match="bits must be"):
        quantize_subspace(t, 0, 2.0)
    with pytest.raises(ValueError, match="radius must be"):
        quantize_subspace(t, 2, 0.0)


def _sample(n=400):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] + x[:, 1] > 0).long()


def _trained(module, **options):
    model = SubspaceModel(module, partial(DenseProjection, 3), **options)
    train(model, *_sample(), optimizer=torch.optim.Adam(model.parameters(), lr=0.1), n_steps=40)
    return model


def test_a_certificate_is_about_the_rounded_model_and_all_that_was_fitted():
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2))
    model = _trained(module, layer_scales=True, direct="3.bias")
    x, y = _sample()
    found = certify_subspace(model, x, y, bits=2, radius=1.0, delta=0.01, n_choices=4)
    rounded = model.quantized(2, 1.0).eval()
    error = float((rounded(x).argmax(1) != y).double().mean())
    assert found.n_components == 3 + 3 + 2 == model.n_trained
    assert found.train_loss == pytest.approx(error, abs=1e-12)
    assert found.bound == occam_bound(found.train_loss, 8, 2, 400, 0.01, n_choices=4)
    # The model that was not rounded has another error, and no bound.
    assert error != pytest.approx(float((model.eval()(x).argmax(1) != y).double().mean()), abs=1e-3)
    checked = found.check(model, x, y)
    assert checked.valid
    assert checked.measured == pytest.approx(found.bound, abs=1e-9)
    assert dataclasses.replace(checked, measured=None) == found


def test_a_false_certificate_is_found_out():
    model, (x, y) = _trained(MLP([4, 5, 2])), _sample()
    found = certify_subspace(model, x, y, bits=6, radius=8.0)
    assert found.train_loss > 0.001
    changes = {"bound": 0.1, "train_loss": 0.0, "n_components": 2, "n_samples": 4000, "bits": 1, "delta": 0.5}
    unreadable = {"bits": 0, "delta": 1.5, "radius": -1.0, "n_choices": 0, "n_samples": -3, "train_loss": math.nan}
    for name, value in [*changes.items(), *unreadable.items()]:
        wrong = dataclasses.replace(found, **{name: value})
        for one in (wrong, wrong.stated()):
            # A larger probability of failure is another, true promise, if the statement says so.
            expected = Status.VALID if name == "delta" and value == 0.5 and one is not wrong else Status.INVALID
            assert one.check(model, x, y).status is expected, name
            assert bool(one.check(model, x, y).reason) is (expected is Status.INVALID)
    for statement in ("all is well", found.statement.replace("at most", "at least")):
        assert dataclasses.replace(found, statement=statement).check(model, x, y).status is Status.INVALID
    # One more setting needs a larger bound, just so; a bound that is larger than needed is true, too.
    assert not dataclasses.replace(found, n_choices=2).stated().check(model, x, y).valid
    assert not dataclasses.replace(found, bound=found.bound - 1e-5).stated().check(model, x, y).valid
    assert dataclasses.replace(found, bound=found.bound + 1e-5).stated().check(model, x, y).valid
    half = found.check(model, x[:200], y[:200])
    assert (half.status, half.reason) == (Status.INVALID, "n_samples is 200; the certificate has 400")
    # What the certificate had before does not count.
    assert dataclasses.replace(found, status=Status.INVALID, reason="?").check(model, x, y) == found.check(model, x, y)
    with torch.no_grad():
        model.t.neg_()
    assert found.check(model, x, y).reason.startswith("train_loss is")


def test_a_model_that_is_rounded_in_another_way_is_found_out(monkeypatch):
    model, (x, y) = _trained(MLP([4, 5, 2])), _sample()
    found = certify_subspace(model, x, y, bits=6, radius=8.0)
    with torch.no_grad():
        model.t.copy_(torch.tensor([0.1, 0.2, -0.3]))
    moved = [
        lambda t, bits, radius: t,
        lambda t, bits, radius: quantize_subspace(t, bits, radius) + 0.1,
        # The centre of the next cell, which is a quarter wide, for 0.2 and -0.3.
        lambda t, bits, radius: quantize_subspace(t + 0.06, bits, radius),
    ]
    for wrong in moved:
        monkeypatch.setattr("sparsetheory.gpu.dimension.subspace.model.quantize_subspace", wrong)
        assert found.check(model, x, y).reason == "a number of the rounded model is not the centre of its cell"


def test_numbers_that_were_frozen_after_training_count():
    model, (x, y) = _trained(MLP([4, 5, 2]), layer_scales=True), _sample()
    found = certify_subspace(model, x, y, bits=6, radius=8.0)
    model.t.requires_grad_(False)
    assert certify_subspace(model, x, y, bits=6, radius=8.0) == found
    assert found.check(model, x, y).valid


def test_other_losses_lie_between_zero_and_one():
    model, (x, y) = _trained(MLP([4, 5, 2])), _sample()

    def brier(output, targets):
        return (output.softmax(1)[torch.arange(len(targets)), targets] - 1).square()

    found = certify_subspace(model, x, y, bits=6, radius=8.0, loss=brier)
    assert found.check(model, x, y, loss=brier).valid
    assert found.check(model, x, y).reason.startswith("train_loss is")
    for wrong in (lambda output, targets: 2.0 + 0 * targets, lambda output, targets: brier(output, targets).mean()):
        with pytest.raises(ValueError, match=r"loss must return one number in \[0, 1\] for each sample"):
            certify_subspace(model, x, y, bits=6, radius=8.0, loss=wrong)


def test_statistics_of_the_sample_are_no_part_of_the_bound():
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))
    x, y = _sample()
    with pytest.raises(ValueError, match=r"nothing else that is fitted to the sample; 1\.running_mean is a buffer"):
        certify_subspace(_trained(module), x, y, bits=6, radius=8.0)
    # Statistics that were there before the sample are fixed, like the starting weights.
    fixed = SubspaceModel(module, partial(DenseProjection, 3)).eval()
    fixed(x)
    found = certify_subspace(fixed, x, y, bits=6, radius=8.0)
    assert found.check(fixed, x, y).valid
    fixed.train()(x)
    checked = found.check(fixed, x, y)
    assert (checked.status, checked.reason) == (Status.NOT_APPLICABLE, "1.running_mean is a buffer that changed")
    module[1] = nn.BatchNorm1d(5, track_running_stats=False)
    with pytest.raises(ValueError, match="nothing else that is fitted to the sample; 1 normalises over the batch"):
        certify_subspace(_trained(module), x, y, bits=6, radius=8.0)


def test_bad_samples():
    model, (x, y) = SubspaceModel(MLP([4, 2]), partial(DenseProjection, 3)), _sample()
    with pytest.raises(ValueError, match="inputs and targets must have equally many rows; got 400 and 399"):
        certify_subspace(model, x, y[1:], bits=6, radius=8.0)
    with pytest.raises(ValueError, match="inputs must be a tensor with one row for each sample; got a ndarray"):
        certify_subspace(model, x.numpy(), y, bits=6, radius=8.0)
    with pytest.raises(ValueError, match="targets must be a tensor with one row for each sample; got a single number"):
        certify_subspace(model, x, y[0], bits=6, radius=8.0)
    with pytest.raises(ValueError, match="model must be a SubspaceModel"):
        certify_subspace(MLP([4, 2]), x, y, bits=6, radius=8.0)
