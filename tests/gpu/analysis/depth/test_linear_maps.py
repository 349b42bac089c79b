import numpy as np
import pytest
import torch
from torch import nn

from sparsetheory.gpu.analysis import layer_grams, linear_map, low_rank_map, sparse_map
from sparsetheory.gpu.core import Gram
from sparsetheory.lowrank import block_svd_error

WIDTH = 5


class Residual(nn.Module):
    """A layer that adds something curved to the stream."""

    def __init__(self, seed):
        super().__init__()
        self.A = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def forward(self, x):
        return x + torch.tanh(x @ self.A.to(x) + 0.3)


@pytest.fixture
def model():
    return nn.Sequential(Residual(0), Residual(1))


def rows(n, seed=0):
    mixing = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) @ mixing + 1.0


def by_hand(x, y):
    """Least squares with a column of ones."""
    found = torch.linalg.lstsq(torch.cat([x, torch.ones_like(x[:, :1])], 1), y).solution
    return found[:-1].T, found[-1]


def test_the_map_is_that_of_least_squares(model, device):
    model, x = model.to(device), rows(200).to(device)
    grams = layer_grams(model, [x[:90].view(9, 10, WIDTH), x[90:]])
    h = model[0](x)
    for name, before, after in (("0", x, h), ("1", h, model[1](h))):
        found = linear_map(grams[name])
        W, b = by_hand(before, after)
        torch.testing.assert_close(found.W, W, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(found.b, b, rtol=1e-8, atol=1e-9)
        error = (before @ W.T + b - after).square().sum() / (after - before).square().sum()
        assert found.relative_error == pytest.approx(float(error), rel=1e-8)
        assert found.lower_bound == found.relative_error


def test_sums_of_two_workers_are_those_of_one(model):
    x = rows(150)
    whole = layer_grams(model, [x])["1"]
    merged = layer_grams(model, [x[:40]])["1"].merge(layer_grams(model, [x[40:]])["1"])
    assert merged.n_samples == whole.n_samples == 150
    torch.testing.assert_close(linear_map(merged).W, linear_map(whole).W, rtol=1e-9, atol=1e-10)


def test_directions_without_variation_pass_unchanged(model):
    x = rows(100)
    x[:, 4] = 2 * x[:, 0] - 3.0
    found = linear_map(layer_grams(model, [x])["0"])
    away = torch.tensor([2.0, 0.0, 0.0, 0.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(found.W @ away, away, rtol=1e-6, atol=1e-7)
    W, b = by_hand(x[:, :4], model[0](x))
    torch.testing.assert_close(x @ found.W.T + found.b, x[:, :4] @ W.T + b, rtol=1e-6, atol=1e-7)


def test_masked_tokens_do_not_count(model):
    x = rows(120).view(12, 10, WIDTH)
    mask = torch.ones(12, 10)
    mask[:, 7:] = 0
    found = layer_grams(model, [x], mask=lambda _: mask)["0"]
    assert found.n_samples == 84
    torch.testing.assert_close(found.matrix, layer_grams(model, [x[:, :7]])["0"].matrix)


def test_too_few_tokens_are_refused(model):
    with pytest.raises(ValueError, match=r"at least 10 \(width \+ 1\) = 60 tokens; got 59"):
        linear_map(layer_grams(model, [rows(59)])["0"])
    linear_map(layer_grams(model, [rows(60)])["0"])
    with pytest.raises(ValueError, match="2 width"):
        linear_map(Gram.of(rows(60)[:, :4]))
    with pytest.raises(ValueError, match="what 0 takes and adds: x must be finite"):
        layer_grams(model, [rows(10) * torch.inf])
    with pytest.raises(TypeError, match="batches must be an iterable of batches"):
        layer_grams(model, rows(10))


def test_low_rank_maps_reach_their_bound_and_no_other_map_does_better(model, device):
    x = rows(300).to(device)
    gram = layer_grams(model.to(device), [x])["0"]
    dense, added = linear_map(gram), model[0](x) - x
    energy = float(added.square().mean(0).sum())
    centred = x - x.mean(0)
    fitted = (centred @ (dense.W.T - torch.eye(WIDTH).to(dense.W))).cpu().numpy()
    for rank in (1, 2, 4):
        found = low_rank_map(gram, rank)
        assert int(torch.linalg.matrix_rank(found.W - torch.eye(WIDTH).to(found.W), rtol=1e-8)) == rank
        assert found.relative_error == pytest.approx(found.lower_bound, rel=1e-8)
        # The classical twin, on the fitted values of all tokens.
        tail = block_svd_error([fitted], rank).absolute ** 2 / len(x) / energy
        assert found.relative_error == pytest.approx(dense.relative_error + tail, rel=1e-7)
        measured = (x @ found.W.T + found.b - model[0](x)).square().mean(0).sum() / energy
        assert float(measured) == pytest.approx(found.relative_error, rel=1e-7)
        # Truncating the map itself, without the covariance of the inputs, is not the best.
        U, s, V = torch.linalg.svd(dense.W - torch.eye(WIDTH).to(dense.W))
        cut = U[:, :rank] * s[:rank] @ V[:rank]
        plain = (centred @ cut.T - (added - added.mean(0))).square().mean(0).sum() / energy
        assert float(plain) > found.relative_error * 1.001
    assert low_rank_map(gram, WIDTH).relative_error == pytest.approx(dense.relative_error, rel=1e-8)
    with pytest.raises(ValueError, match="rank must be at most 5, the width; got 6"):
        low_rank_map(gram, 6)


def test_sparse_maps_find_the_entries_that_made_the_layer():
    change = torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
    change[0, 3], change[1, 1], change[4, 0], change[4, 2] = 0.7, -0.4, 1.0, 1.5
    layer = nn.Linear(WIDTH, WIDTH).double()
    layer.weight.data, layer.bias.data = torch.eye(WIDTH).double() + change, torch.arange(5.0).double()
    # Columns of different units, which are no matter.
    units = torch.tensor([1.0, 100.0, 0.01, 3.0, 1.0]).double()
    x = torch.randn(400, WIDTH, generator=torch.Generator().manual_seed(0)).double() * units
    change[4, 0] *= 0.01
    layer.weight.data = torch.eye(WIDTH).double() + change
    gram = layer_grams(nn.Sequential(layer, nn.Linear(WIDTH, WIDTH).double()), [x])["0"]
    found = sparse_map(gram, 0.3)
    assert found.n_nonzero == 4
    torch.testing.assert_close(found.W, layer.weight.data, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found.b, layer.bias.data, rtol=1e-6, atol=1e-6)


def test_sparse_maps_trade_entries_for_error_and_choose_as_scikit_learn_does(model):
    from sklearn.linear_model import Lasso

    x = rows(300)
    gram, y = layer_grams(model, [x])["0"], (model[0](x) - x)
    dense = linear_map(gram)
    counts, errors = [], []
    for alpha in (0.5, 0.2, 0.05, 0.001):
        found = sparse_map(gram, alpha)
        counts.append(found.n_nonzero)
        errors.append(found.relative_error)
        assert found.lower_bound == pytest.approx(dense.relative_error)
        centred, target = ((part - part.mean(0)) / part.std(0, correction=0) for part in (x, y))
        for output in range(WIDTH):
            lasso = Lasso(alpha=alpha, fit_intercept=False, tol=1e-10, max_iter=100_000)
            support = lasso.fit(centred.numpy(), target[:, output].numpy()).coef_ != 0
            np.testing.assert_array_equal((found.W - torch.eye(WIDTH).double())[output].numpy() != 0, support)
    assert counts == sorted(counts)
    assert errors == sorted(errors, reverse=True)
    assert counts[0] < counts[-1]
    assert errors[-1] == pytest.approx(dense.relative_error, rel=1e-3)
    with pytest.raises(ValueError, match="alpha must be"):
        sparse_map(gram, 0.0)


def test_a_layer_that_adds_nothing_is_the_identity():
    model, x = nn.Sequential(nn.Identity(), nn.Identity()), rows(80)
    gram = layer_grams(model, [x])["0"]
    for found in (linear_map(gram), sparse_map(gram, 0.1), low_rank_map(gram, 2)):
        assert torch.equal(found.W, torch.eye(WIDTH).double())
        assert not found.b.any()
        assert found.relative_error == 0
