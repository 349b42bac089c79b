"""Training on the connections equals training of dense weights under masks by automatic differentiation."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.dynamic.feature_selection.layer import draw_layer
from sparsetheory.gpu.dynamic.feature_selection.training import Gradients, Steps, draw_active, train_epoch
from sparsetheory.numba_kernels.sparse_autoencoder.batches import gather_columns

_STEPS = Steps(batch_size=20, learning_rate=0.1, momentum=0.9, weight_decay=1e-2, dropout=0.2)
_ATOL = {np.float32: 2e-5, np.float64: 1e-12}


def _problem(dtype=np.float64, n=50, m=12, h=9, seed=0):
    rng = np.random.default_rng(seed)
    layers = [draw_layer(rng, shape, 2.0, dtype) for shape in ((h, m), (m, h))]
    for layer in layers:
        layer.bias[:] = rng.standard_normal(layer.bias.size)
    X = rng.standard_normal((n, m)).astype(dtype)
    return layers, X, (X + 0.2 * rng.standard_normal((n, m))).astype(dtype)


def _dense(layer):
    """Return the weight, its mask and the bias in double precision."""
    weight = torch.from_numpy(layer.matrix().toarray().astype(np.float64))
    mask = torch.zeros(weight.numel(), dtype=torch.bool)
    mask[torch.from_numpy(layer.positions)] = True
    return weight, mask.reshape(weight.shape), torch.from_numpy(layer.bias.astype(np.float64))


def _loss(parameters, x, noisy, active):
    first, bias, second, other = parameters
    hidden = torch.sigmoid(noisy @ first.T + bias)
    if active is not None:
        hidden = hidden * active.T
    return ((hidden @ second.T + other - x) ** 2).sum() / 2


class _Reference:
    """Dense weights under masks, moved by the published rule."""

    def __init__(self, layers):
        (first, mask, bias), (second, other_mask, other) = map(_dense, layers)
        self.parameters = [p.requires_grad_() for p in (first, bias, second, other)]
        self.masks = mask, torch.ones_like(bias, dtype=torch.bool), other_mask, torch.ones_like(other, dtype=torch.bool)
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    def epoch(self, X, noisy, steps, seed):
        rng = np.random.default_rng(seed)
        order, h, total = rng.permutation(len(X)), len(self.parameters[1]), 0.0
        for start in range(0, len(X), steps.batch_size):
            rows = order[start : start + steps.batch_size]
            active = draw_active(rng, (h, rows.size), steps.dropout) if steps.dropout else None
            x, seen = (torch.from_numpy(part[rows].astype(np.float64)) for part in (X, noisy))
            loss = _loss(self.parameters, x, seen, None if active is None else torch.from_numpy(active))
            total += 2 * loss.item()
            gradients = torch.autograd.grad(loss / rows.size, self.parameters)
            with torch.no_grad():
                for p, v, g, mask in zip(self.parameters, self.velocity, gradients, self.masks, strict=True):
                    v.mul_(steps.momentum).sub_(steps.learning_rate * g * mask)
                    p.add_(v - steps.weight_decay * p)
        return total / X.size


def _compare(layers, reference, atol):
    found = [part for layer in layers for part in (layer.matrix().toarray(), layer.bias)]
    for ours, expected in zip(found, reference.parameters, strict=True):
        np.testing.assert_allclose(ours, expected.detach().numpy(), rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_epochs_equal_a_dense_reference(dtype, dropout):
    """Also with a last batch of 10 of 50 samples, and biases that decay."""
    layers, X, noisy = _problem(dtype)
    reference = _Reference(layers)
    steps = Steps(20, 0.1, 0.9, 1e-2, dropout)
    for seed in range(3):
        loss = train_epoch(*layers, X, noisy, steps, np.random.default_rng(seed))
        expected = reference.epoch(X, noisy, steps, seed)
        assert abs(loss - expected) < _ATOL[dtype]
    _compare(layers, reference, _ATOL[dtype])
    assert layers[0].values.dtype == dtype


def test_a_batch_of_several_blocks():
    """A block takes 64 samples in double precision; 150 take three, and the last one is filled up."""
    layers, X, noisy = _problem(n=150)
    reference = _Reference(layers)
    steps = Steps(1000, 0.1, 0.9, 1e-2, 0.2)
    assert Gradients(*layers, 150).width == 64
    train_epoch(*layers, X, noisy, steps, np.random.default_rng(0))
    reference.epoch(X, noisy, steps, 0)
    _compare(layers, reference, 1e-12)


def test_decay_is_not_multiplied_by_the_rate():
    """What torch calls weight decay moves weights another way: the comparison would notice."""
    layers, X, noisy = _problem()
    reference = _Reference(layers)
    train_epoch(*layers, X, noisy, _STEPS, np.random.default_rng(0))
    reference.epoch(X, noisy, Steps(20, 0.1, 0.9, 1e-2 * 0.1, 0.2), 0)
    with pytest.raises(AssertionError):
        _compare(layers, reference, 1e-4)


def test_gradients_of_silent_units_are_zero():
    layers, X, noisy = _problem()
    gradients = Gradients(*layers, 50)
    active = np.ones((9, 50), dtype=bool)
    active[3] = False
    gradients.add(X, noisy, np.arange(50), active)
    silent = layers[0].positions // 12 == 3
    assert silent.any()
    assert not gradients.of_encoder[silent].any()
    assert gradients.of_encoder_bias[3] == 0
    assert not gradients.of_decoder[layers[1].indices == 3].any()
    assert gradients.of_encoder[~silent].all()


def test_a_constant_feature_decays_without_noise():
    """A standardised constant is zero: its weights get no gradient but that of the noise."""
    layers, X, noisy = _problem()
    X[:, 4] = noisy[:, 4] = 0
    own = layers[0].indices == 4
    before, others = layers[0].values.copy(), ~own
    steps = Steps(20, 0.1, 0.9, 1e-5, 0.2)
    train_epoch(*layers, X, noisy, steps, np.random.default_rng(0))
    np.testing.assert_allclose(layers[0].values[own], before[own] * (1 - 1e-5) ** 3, rtol=1e-14)
    assert np.abs(layers[0].values[others] - before[others]).min() > 1e-5
    noisy[:, 4] = 0.2 * np.random.default_rng(1).standard_normal(50)
    before = layers[0].values.copy()
    train_epoch(*layers, X, noisy, steps, np.random.default_rng(0))
    assert np.abs(layers[0].values[own] - before[own] * (1 - 1e-5) ** 3).max() > 1e-5


def test_the_order_of_features_does_not_matter():
    """Features are exchanged with their weights: all that is trained is exchanged alike."""
    layers, X, noisy = _problem()
    exchanged, _, _ = _problem()
    new = np.random.default_rng(5).permutation(12)
    first, second = exchanged
    # Column j of the exchanged problem is column new[j] of the other one.
    where = np.argsort(new)
    rows, columns = np.divmod(first.positions, 12)
    first = first.rewired(rows * 12 + where[columns], first.values, first.velocity)
    rows, columns = np.divmod(second.positions, 9)
    second.bias[:] = second.bias[new]
    second = second.rewired(where[rows] * 9 + columns, second.values, second.velocity)
    train_epoch(*layers, X, noisy, _STEPS, np.random.default_rng(0))
    contiguous = [np.ascontiguousarray(part[:, new]) for part in (X, noisy)]
    train_epoch(first, second, *contiguous, _STEPS, np.random.default_rng(0))
    np.testing.assert_allclose(first.strengths, layers[0].strengths[new], rtol=1e-12)
    np.testing.assert_allclose(first.matrix().toarray(), layers[0].matrix().toarray()[:, new], atol=1e-13)
    np.testing.assert_allclose(second.matrix().toarray(), layers[1].matrix().toarray()[new], atol=1e-13)


def test_the_data_are_left_alone():
    layers, X, noisy = _problem()
    kept = X.copy(), noisy.copy()
    train_epoch(*layers, X, noisy, _STEPS, np.random.default_rng(0))
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(noisy, kept[1])


@pytest.mark.parametrize("dropout", [0.01, 0.2, 0.99])
def test_share_of_silent_units(dropout):
    active = draw_active(np.random.default_rng(0), (500, 400), dropout)
    assert active.dtype == bool
    assert abs(1 - active.mean() - dropout) < 5 * (dropout * (1 - dropout) / active.size) ** 0.5


def test_columns_that_fill_up_a_block_are_zero():
    X = np.arange(34.0).reshape(2, 17)
    out = np.full(17 * 16, np.nan)
    gather_columns(X.reshape(-1), 17, np.array([1]), 16, out)
    expected = np.zeros((17, 16))
    expected[:, 0] = X[1]
    np.testing.assert_array_equal(out.reshape(17, 16), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "h", "batch_size"), [(1, 1, 1), (1, 5, 3), (6, 1, 200), (3, 2, 1)])
def test_single_features_units_and_samples(dtype, m, h, batch_size):
    """And rows and columns without a connection."""
    for n_samples in (1, 7):
        layers, X, noisy = _problem(dtype, n_samples, m, h)
        layers[0] = layers[0].rewired(
            *(part[:1] for part in (layers[0].positions, layers[0].values, layers[0].velocity))
        )
        layers[1] = layers[1].rewired(
            *(part[:0] for part in (layers[1].positions, layers[1].values, layers[1].velocity))
        )
        reference, steps = _Reference(layers), Steps(batch_size, 0.1, 0.9, 1e-2, 0.2)
        reference.epoch(X, noisy, steps, 3)
        train_epoch(*layers, X, noisy, steps, np.random.default_rng(3))
        for layer, weight, bias in zip(layers, reference.parameters[::2], reference.parameters[1::2], strict=True):
            np.testing.assert_allclose(layer.matrix().toarray(), weight.detach().numpy(), atol=_ATOL[dtype])
            np.testing.assert_allclose(layer.bias, bias.detach().numpy(), atol=_ATOL[dtype])
