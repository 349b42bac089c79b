"""Linear heads: gradients by hand, the least loss, and heads that read few features."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, LogisticRegression

from sparsetheory.gpu.analysis import linear_probe, sparse_probes
from sparsetheory.gpu.core.datasets import load_digits


def features_and_classes(n=60, p=6, n_classes=3):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % n_classes
    x = torch.randn(n, p, generator=generator, dtype=torch.float64)
    return x + 1.5 * torch.randn(n_classes, p, generator=generator, dtype=torch.float64)[y], y


def test_first_step_by_hand(device):
    x, y = (part.to(device) for part in features_and_classes())
    probe = linear_probe(x, y, method="gradient_descent", n_steps=1, lr=0.5)
    residual = torch.nn.functional.one_hot(y, 3).double() - 1 / 3
    torch.testing.assert_close(probe.coef, 0.5 * residual.T @ x / len(x))
    torch.testing.assert_close(probe.intercept, 0.5 * residual.mean(0))
    assert float(probe.losses[0]) == pytest.approx(math.log(3), rel=1e-12)
    assert probe.coef.device.type == device


def test_steps_of_adam_are_a_hundredth_by_default():
    x = torch.tensor([[1.0, -2.0], [2.0, 1.0]])
    probe = linear_probe(x, torch.tensor([0, 1]), n_steps=1)
    torch.testing.assert_close(probe.coef.abs(), torch.full((2, 2), 0.01), rtol=1e-3, atol=0.0)


def test_converges_to_the_penalised_minimum():
    x, y = features_and_classes()
    probe = linear_probe(x, y, method="gradient_descent", n_steps=3000, alpha=0.1)
    # Scikit-learn penalises half the squares by 1 / (C n).
    exact = LogisticRegression(C=1 / (0.1 * len(y)), tol=1e-10, max_iter=1000).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(probe.coef.numpy(), exact.coef_, atol=1e-5)


def test_step_of_one_over_curvature_never_raises_the_loss_and_a_longer_one_does():
    x, y = features_and_classes()
    assert bool((linear_probe(x, y, method="gradient_descent").losses.diff() < 0).all())
    # One feature and two classes in balance: the curvature at zero is the bound, and steps of 4 / L overshoot.
    line, signs = torch.ones(20, 1, dtype=torch.float64), torch.arange(20) % 2
    line[signs == 0] = -1.0
    line[0] = 1.0
    curvature = float(torch.linalg.matrix_norm(torch.cat([line, torch.ones_like(line)], 1), 2)) ** 2 / 40
    descent = linear_probe(line, signs, method="gradient_descent", n_steps=40).losses
    longer = linear_probe(line, signs, method="gradient_descent", n_steps=40, lr=8 / curvature).losses
    assert bool((descent.diff() <= 1e-15).all())
    assert float(longer.diff().max()) > 1e-3


def test_default_step_is_one_over_the_curvature():
    x, y = features_and_classes()
    ones = np.column_stack([x.numpy(), np.ones(len(x))])
    curvature = np.linalg.norm(ones, 2) ** 2 / (2 * len(x)) + 0.3
    by_default = linear_probe(x, y, method="gradient_descent", n_steps=7, alpha=0.3)
    by_hand = linear_probe(x, y, method="gradient_descent", n_steps=7, alpha=0.3, lr=float(1 / curvature))
    torch.testing.assert_close(by_default.coef, by_hand.coef)


def test_standardised_head_is_that_of_scaled_features_and_no_scale_matters(device):
    x, y = (part.to(device) for part in features_and_classes())
    x = torch.cat([x, torch.full_like(x[:, :1], 3.0)], dim=1)
    scaled = (x - x.mean(0)) / x.std(0, correction=0).where(torch.arange(7, device=device) < 6, 1.0)
    by_hand = linear_probe(scaled, y, n_steps=20)
    found = linear_probe(x, y, n_steps=20, standardise=True)
    torch.testing.assert_close(found.losses, by_hand.losses)
    torch.testing.assert_close(found.logits(x), by_hand.logits(scaled))
    small = linear_probe(0.01 * x, y, n_steps=20, standardise=True)
    torch.testing.assert_close(small.logits(0.01 * x), found.logits(x))
    # Without it small features leave a head that is less sure.
    sure, unsure = (linear_probe(scale * x, y, n_steps=20).logits(scale * x).softmax(1) for scale in (1.0, 0.01))
    assert float(unsure.amax(1).mean()) < 0.7 * float(sure.amax(1).mean())


def test_adam_fits_digits_and_draws_nothing():
    digits = load_digits()
    x, y = torch.from_numpy(digits.images).flatten(1), torch.from_numpy(digits.labels)
    state = torch.get_rng_state()
    probe = linear_probe(x[:1000], y[:1000])
    assert torch.equal(torch.get_rng_state(), state)
    assert probe.losses.shape == (150,)
    assert (probe.logits(x[1000:]).argmax(1) == y[1000:]).float().mean() > 0.85


def test_precision():
    x, y = features_and_classes()
    assert linear_probe(x.float(), y, n_steps=1).coef.dtype == torch.float32
    half = linear_probe(x.bfloat16(), y, n_steps=1)
    assert half.coef.dtype == torch.float32
    assert half.logits(x.bfloat16()).dtype == torch.float32


def test_features_that_a_gradient_hangs_on_are_left_alone():
    x, y = features_and_classes()
    x.requires_grad_(True)
    probe = linear_probe(x, y, n_steps=2)
    assert x.grad is None
    assert not probe.coef.requires_grad


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"features": torch.zeros(6)}, "features must have shape"),
        ({"y": torch.tensor([0, 1])}, "features must have shape"),
        ({"features": torch.full((6, 2), math.nan)}, r"features must be finite.*; got infinite entries or NaN"),
        (
            {"features": torch.zeros(6, 2, dtype=torch.int64)},
            r"features must be finite.*; got torch.int64",
        ),
        ({"features": torch.zeros(6, 2).numpy()}, "features must be a tensor"),
        ({"y": torch.full((6,), -3)}, "y must hold classes from 0 to 0; got -3 to -3"),
        ({"n_classes": 3}, "y must have a sample of each of 3 classes"),
    ],
)
def test_bad_input(options, words):
    good = {"features": torch.rand(6, 2), "y": torch.tensor([0, 1, 0, 1, 0, 1])}
    for fit in (linear_probe, sparse_probes):
        with pytest.raises(ValueError, match=words):
            fit(**{**good, **options})


@pytest.mark.parametrize(
    "options", [{"method": "newton"}, {"n_steps": 0}, {"lr": 0.0}, {"alpha": -1.0}, {"standardise": 1}]
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        linear_probe(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]), **options)


def test_sparse_path_is_that_of_scikit_learn():
    x, y = features_and_classes()
    found = sparse_probes(x, y, n_alphas=6, min_ratio=0.05, standardise=False)
    assert found.n_features[0] == 0
    assert found.n_features[-1] >= 4
    for alpha, probe in zip(found.alphas[1:].tolist(), found.probes[1:], strict=True):
        for label in range(3):
            exact = Lasso(alpha, tol=1e-12, max_iter=100000).fit(x.numpy(), (y == label).double().numpy())
            np.testing.assert_allclose(probe.coef[label].numpy(), exact.coef_, atol=2e-3)
            assert float(probe.intercept[label]) == pytest.approx(exact.intercept_, abs=4e-3)


def test_standardised_path_does_not_depend_on_scales():
    x, y = features_and_classes()
    scales = torch.tensor([1e-3, 1.0, 50.0, 1.0, 0.1, 7.0], dtype=torch.float64)
    plain, scaled = (sparse_probes(part, y, n_alphas=5, min_ratio=0.1) for part in (x, x * scales))
    torch.testing.assert_close(plain.alphas, scaled.alphas)
    assert plain.n_features == scaled.n_features
    torch.testing.assert_close(plain.probes[-1].coef, scaled.probes[-1].coef * scales, atol=2e-3, rtol=1e-2)


def test_first_strength_is_the_least_without_features():
    x, y = features_and_classes()
    # Far from the origin the mean of features matters.
    first, second = sparse_probes(x + 100.0, y, n_alphas=2, min_ratio=0.99).n_features
    assert (first, second) == (0, 1)


def test_constant_features_are_not_read():
    x, y = features_and_classes()
    x = torch.cat([torch.zeros(len(x), 1), torch.full((len(x), 1), 3.0), x], dim=1)
    found = sparse_probes(x, y, n_alphas=4, min_ratio=0.01)
    assert not bool(torch.stack([probe.coef[:, :2] for probe in found.probes]).any())
    assert found.n_features[-1] == 6


def test_sparse_head_of_digits_reads_few_pixels():
    digits = load_digits()
    x, y = torch.from_numpy(digits.images).flatten(1), torch.from_numpy(digits.labels)
    found = sparse_probes(x[:1000], y[:1000], n_alphas=8, min_ratio=0.05)
    reads = list(found.n_features)
    assert reads[0] == 0
    assert found.probes[-1].coef.dtype == torch.float32
    accuracies = [float((probe.logits(x[1000:]).argmax(1) == y[1000:]).float().mean()) for probe in found.probes]
    assert accuracies[-1] > 0.8
    assert accuracies[-1] > accuracies[1] + 0.1


@pytest.mark.parametrize(
    ("x", "y"), [(torch.ones(4, 2), torch.tensor([0, 1, 0, 1])), (torch.rand(4, 2), torch.zeros(4, dtype=torch.int64))]
)
def test_nothing_to_tell_apart(x, y):
    with pytest.raises(ValueError, match="two classes and a feature that varies"):
        sparse_probes(x, y)
