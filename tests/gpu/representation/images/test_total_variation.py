"""Total variation against the lasso on steps, the optimality conditions, and scikit-image."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import tv_denoise
from sparsetheory.regression import lasso_path


def _image(*shape, seed=0):
    rng = np.random.default_rng(seed)
    image = np.zeros(shape)
    image[: shape[0] // 2 + 1, shape[1] // 3 :] = 1.0
    return image + 0.2 * rng.standard_normal(shape)


@pytest.mark.parametrize("alpha", [0.05, 0.5])
def test_a_row_is_a_lasso_on_steps(alpha, device):
    y = _image(1, 64)
    steps = np.tril(np.ones((64, 64)))[:, 1:]
    expected = lasso_path(steps, y[0], alphas=[alpha / 64], tol=1e-12, fit_intercept=True).predict(steps)[:, 0]
    found = tv_denoise(torch.from_numpy(y).to(device), alpha, tol=1e-9, max_iter=50_000)
    assert np.abs(found.cpu().numpy()[0] - expected).max() < 1e-6


def test_it_is_no_worse_than_scikit_image():
    skimage = pytest.importorskip("skimage.restoration")
    y, alpha = _image(24, 20), 0.15

    def objective(u):
        return np.square(u - y).sum() / 2 + alpha * sum(np.abs(np.diff(u, axis=axis)).sum() for axis in (0, 1))

    found = tv_denoise(torch.from_numpy(y), alpha, tol=1e-7, max_iter=20_000).numpy()
    peer = skimage.denoise_tv_bregman(y, weight=1 / alpha, isotropic=False, eps=1e-8, max_num_iter=2000)
    assert objective(found) <= objective(peer) * (1 + 1e-6)
    # The peer treats the border in its own way; inside both agree.
    assert np.abs(found - peer)[4:-4, 4:-4].mean() < 0.02


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_the_weight_of_the_constraint_finds_its_size(unit):
    y = torch.from_numpy(_image(24, 20)) * unit
    exact = tv_denoise(y, 0.5 * unit, tol=1e-9, max_iter=50_000)
    assert float((tv_denoise(y, 0.5 * unit, tol=1e-12, max_iter=100) - exact).abs().max()) < 1e-3 * unit


def test_limits():
    y = torch.from_numpy(_image(6, 7))
    assert torch.allclose(tv_denoise(y, 0.0), y, atol=1e-4)
    assert torch.allclose(tv_denoise(y, 100.0, tol=1e-8), y.mean().expand(6, 7), atol=1e-4)
    assert torch.equal(tv_denoise(torch.ones(3, 3), 0.5), torch.ones(3, 3))
    assert float(tv_denoise(y, 0.3).mean()) == pytest.approx(float(y.mean()), abs=1e-10)


def test_bad_input():
    with pytest.raises(ValueError, match="image must be a matrix"):
        tv_denoise(torch.ones(3), 0.1)
    with pytest.raises(ValueError, match="alpha must be"):
        tv_denoise(torch.ones(3, 3), -1.0)
