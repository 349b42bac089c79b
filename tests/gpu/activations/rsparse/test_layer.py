"""One R-Sparse layer: its threshold, its output, and what is certain of its error."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sparsetheory.gpu.activations import RSparseLinear, SvdResidual
from sparsetheory.gpu.activations.rsparse.factors import decompose
from sparsetheory.gpu.activations.selectors import ColumnScaled


def _dense(n_in=48, n_out=32, *, bias=True, dtype=torch.float32, seed=0, device="cpu"):
    source = torch.Generator().manual_seed(seed)
    layer = nn.Linear(n_in, n_out, bias, dtype=dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source))
    x = torch.randn(200, n_in, generator=source).to(dtype)
    return layer.to(device), x.to(device)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8, 1.0])
def test_the_threshold_is_the_stated_quantile(device, rho):
    layer, x = _dense(device=device)
    made = RSparseLinear.from_linear(layer, 0.6, rho, x)
    weight = layer.weight.detach().cpu().numpy()
    scores = np.abs(x.cpu().numpy())
    if rho < 1:
        scores = scores * np.linalg.norm(weight.astype(np.float64), axis=0).astype(np.float32)
    place = int(round(scores.size * (1 - 0.4 * rho), 6) // 1)
    assert float(made.selector.threshold) == np.sort(scores, axis=None)[place - 1]
    assert made.realised == place / scores.size
    assert made.input_sparsity(x) == pytest.approx(place / scores.size, abs=1e-12)
    assert (made.residual is None) == (made.budget.rank == 0)


def test_scores_may_be_chosen():
    layer, x = _dense()
    default, plain, scaled = (RSparseLinear.from_linear(layer, 0.5, 1.0, x, scaled=way) for way in (None, False, True))
    assert default.selector.scale is None
    assert torch.equal(default.selector.threshold, plain.selector.threshold)
    torch.testing.assert_close(scaled.selector.scale, layer.weight.detach().norm(dim=0))


def test_constant_inputs_are_dropped_together():
    layer, _ = _dense()
    made = RSparseLinear.from_linear(layer, 0.5, 1.0, torch.ones(10, 48))
    # All tie at the threshold, and what is not above it goes: the rule of the authors, and the share says so.
    assert made.realised == 1.0
    assert torch.equal(made(torch.ones(1, 48))[0], layer.bias)


def test_nothing_is_dropped_where_the_quantile_is_of_size_zero():
    layer, x = _dense()
    for sparsity, rows in ((0.0, x), (0.01, x[:2])):
        made = RSparseLinear.from_linear(layer, sparsity, 1.0, rows)
        assert made.realised == 0.0
        torch.testing.assert_close(made(x), layer(x))


def test_the_output_is_that_of_the_formula(device):
    layer, x = _dense(dtype=torch.float64, device=device)
    made = RSparseLinear.from_linear(layer, 0.5, 0.7, x)
    W, b = layer.weight.detach(), layer.bias.detach()
    mask = (x.abs() * W.norm(dim=0) > made.selector.threshold).to(x)
    U, S, Vh = torch.linalg.svd(W)
    r = made.budget.rank
    low = (U[:, :r] * S[:r]) @ Vh[:r]
    expected = (x * mask) @ W.T + (x * (1 - mask)) @ low.T + b
    torch.testing.assert_close(made(x), expected)
    torch.testing.assert_close(made(x[3]), expected[3])
    torch.testing.assert_close(made(x.reshape(4, 50, 48)), expected.reshape(4, 50, 32))
    torch.testing.assert_close(layer(x) - made(x), ((W - low) @ (x * (1 - mask)).T).T, atol=1e-10, rtol=0)


def test_one_token_with_skipped_rows_is_the_dense_product():
    layer, x = _dense(1024, 640)
    made = RSparseLinear.from_linear(layer, 0.6, 0.8, x, crossing=1.0)
    plain = RSparseLinear.from_linear(layer, 0.6, 0.8, x, crossing=0.0)
    with torch.no_grad():
        torch.testing.assert_close(made(x[:1]), plain(x[:1]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(48, 32), (32, 48), (1, 5), (40, 40)])
def test_the_bound_of_the_factors_holds_at_every_rank(device, dtype, shape):
    source = torch.Generator().manual_seed(1)
    least = min(shape)
    # Rank-deficient, with singular values over eight orders of magnitude.
    exact = torch.randn(shape[0], least, generator=source, dtype=torch.float64) * 10.0 ** -torch.linspace(0, 8, least)
    exact = exact @ torch.randn(least, shape[1], generator=source, dtype=torch.float64)
    for weight in (exact, torch.zeros(shape), torch.ones(shape)):
        weight = weight.to(device, dtype)
        found = decompose(weight, least)
        for rank in range(least + 1):
            left = weight.double() - found.left[:, :rank].double() @ found.right[:rank].double()
            norm = float(torch.linalg.matrix_norm(left.cpu(), 2))
            assert norm <= found.sigma[rank] * (1 + 1e-12)
        if dtype == torch.float64 and weight is not None and float(weight.norm()) > 0:
            values = torch.linalg.svdvals(weight.cpu())
            assert found.sigma[0] == pytest.approx(float(values[0]), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_errors_stay_below_their_bound(device, dtype):
    layer, x = _dense(dtype=dtype, device=device)
    for rho in (0.0, 0.5, 0.9):
        made = RSparseLinear.from_linear(layer, 0.5, rho, x)
        certificate = made.certify(x)
        assert certificate.valid
        checked = certificate.check(layer.weight, x)
        assert checked.valid
        assert checked.measured == pytest.approx(certificate.measured, rel=1e-6)
        assert made(x).dtype == dtype
        if dtype == torch.float64:
            lost = (layer(x) - made(x)).norm(dim=-1)
            assert bool((lost <= made.error_bound(x) * (1 + 1e-9) + 1e-9).all())
    # The worst input is the singular vector behind the rank, small enough to stay off the mask.
    made = RSparseLinear.from_linear(layer.double(), 0.5, 0.5, x.double())
    worst = torch.linalg.svd(layer.weight.detach())[2][made.budget.rank] * 1e-3
    assert made.certify(worst).measured == pytest.approx(made.sigma, rel=1e-6)


def test_changed_certificates_are_found_out():
    layer, x = _dense()
    made = RSparseLinear.from_linear(layer, 0.5, 0.5, x)
    certificate = made.certify(x)
    for fake in (
        replace(certificate, bound=certificate.bound * 0.5),
        replace(certificate, threshold=certificate.threshold * 2),
        replace(certificate, left=certificate.left * 2),
        replace(certificate, right=certificate.right[:, :-1]),
    ):
        assert not fake.check(layer.weight, x).valid
        assert fake.check(layer.weight, x).reason
    assert not certificate.check(layer.weight + 1.0, x).valid
    with pytest.raises(TypeError, match="options must be empty; got random"):
        certificate.check(layer.weight, x, random=1)


def test_rank_and_mask_that_keep_everything_give_the_dense_output():
    layer, x = _dense(dtype=torch.float64)
    made = RSparseLinear.from_linear(layer, 0.5, 0.5, x)
    made.residual = SvdResidual(layer.weight, 32)
    torch.testing.assert_close(made(x), layer(x))
    made = RSparseLinear.from_linear(layer, 0.5, 0.5, x)
    made.selector = ColumnScaled(None, 0.0)
    torch.testing.assert_close(made(x), layer(x))


def test_state_copies_and_the_way_back(device, tmp_path):
    layer, x = _dense(device=device)
    first, second = (RSparseLinear.from_linear(layer, 0.5, 0.8, inputs) for inputs in (x, 3 * x))
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))
    assert torch.equal(copy.deepcopy(first)(x), first(x))
    torch.save(first, tmp_path / "layer.pt")
    assert torch.equal(torch.load(tmp_path / "layer.pt", weights_only=False)(x), first(x))
    back = first.to_linear()
    assert all(torch.equal(a, b) for a, b in zip(back.parameters(), layer.parameters(), strict=True))
    assert RSparseLinear.from_linear(_dense(bias=False)[0], 0.5, 0.8, x.cpu()).to_linear().bias is None


def test_the_layer_shares_no_memory_and_can_be_trained():
    layer, x = _dense()
    made = RSparseLinear.from_linear(layer, 0.5, 0.8, x)
    before = layer.weight.detach().clone()
    made(x).square().mean().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
    torch.optim.SGD(made.parameters(), lr=1.0).step()
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"sparsity": 1.0}, ValueError, "sparsity must be"),
        ({"rho": 1.5}, ValueError, "rho must be"),
        ({"scaled": 1}, ValueError, "scaled must be"),
        ({"lin": nn.Conv2d(1, 1, 1)}, ValueError, "lin must be a linear layer; got Conv2d"),
        ({"calibration": torch.ones(0, 48)}, ValueError, "calibration must hold tokens of 48 features"),
        ({"calibration": torch.ones(3, 47)}, ValueError, "calibration must hold tokens of 48 features"),
        ({"calibration": torch.full((3, 48), float("nan"))}, ValueError, "calibration must be finite"),
        ({"calibration": torch.ones(3, 48, dtype=torch.int64)}, TypeError, "calibration must be a tensor"),
    ],
)
def test_arguments(change, error, words):
    layer, x = _dense()
    with pytest.raises(error, match=words):
        RSparseLinear.from_linear(**{"lin": layer, "sparsity": 0.5, "rho": 0.8, "calibration": x, **change})
