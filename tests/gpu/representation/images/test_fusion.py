"""Fusion: exact views, outliers, masks, Huber's loss as a lasso on outliers, and views that cannot be fused."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import robust_fuse
from sparsetheory.regression import lasso_path


def _views(n_bad=2, n=400, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    scale, shift = rng.uniform(0.5, 2, 8), rng.standard_normal(8)
    views = scale[:, None] * z + shift[:, None] + noise * rng.standard_normal((8, n))
    bad = (np.arange(8) < n_bad)[:, None] & (rng.random((8, n)) < 0.4)
    return torch.from_numpy(views + bad * rng.normal(0, 3, (8, n))), z, scale, shift, bad


def test_exact_views_are_told_apart_from_their_scales(device):
    views, z, scale, shift, _ = _views(0, noise=0.0)
    found = robust_fuse(views.to(device))
    assert np.abs(found.z.cpu().numpy() - (z - z.mean()) / z.std()).max() < 1e-8
    assert np.abs(found.scale.cpu().numpy() - scale * z.std()).max() < 1e-8
    assert np.abs(found.shift.cpu().numpy() - shift - scale * z.mean()).max() < 1e-8
    assert (found.weights > 0.2).all()


def test_outliers_lose_their_weight():
    views, z, scale, _, bad = _views(3)
    found = robust_fuse(views)
    weights = found.weights.numpy()
    gross = bad & (np.abs(views.numpy() - (scale[:, None] * z + views.numpy().mean(1, keepdims=True))) > 2)
    assert weights[gross].mean() < 0.05
    assert weights[~bad].mean() > 0.6
    assert np.corrcoef(found.z.numpy(), z)[0, 1] ** 2 > 0.999
    assert found.noise_std == pytest.approx(0.05, rel=0.15)


def test_objective_and_weights_belong_to_what_is_returned():
    views, *_ = _views(3)
    found = robust_fuse(views, 1, noise_std=0.2)
    x = (views - found.scale[:, None] * found.z - found.shift[:, None]) / 0.2
    assert float(found.objectives[-1]) == pytest.approx(float((x**2 / 2 / (1 + x**2 / 4)).sum()), rel=1e-10)
    # The derivative of the loss is the residual times its weight.
    assert torch.allclose(found.weights, (1 + x**2 / 4) ** -2)


def test_a_sweep_by_hand():
    views, *_ = _views(3)
    y, sigma = views.numpy(), 0.2
    first, second = (robust_fuse(views, n, noise_std=sigma, tol=1e-300) for n in (1, 2))
    z, scale, shift = first.z.numpy(), first.scale.numpy(), first.shift.numpy()
    w = (1 + ((y - scale[:, None] * z - shift[:, None]) / sigma) ** 2 / 4) ** -2
    fits = [np.polyfit(z, view, 1, w=np.sqrt(weights)) for view, weights in zip(y, w, strict=True)]
    A, B = np.array(fits).T[:, :, None]
    z = (w * A * (y - B)).sum(0) / (w * A**2).sum(0)
    fitted = second.scale[:, None] * second.z + second.shift[:, None]
    assert np.abs(fitted.numpy() - A * z - B).max() < 1e-10
    assert abs(z.mean()) > 1e-6


@pytest.mark.parametrize("loss", ["geman_mcclure", "huber"])
def test_objectives_fall_for_given_noise(loss):
    found = robust_fuse(_views(3)[0], 40, noise_std=0.05, loss=loss)
    assert len(found.objectives) > 3
    assert (found.objectives.diff() <= 1e-9 * found.objectives[0]).all()
    assert found.objectives[-1] < 0.9 * found.objectives[0]


def test_hubers_loss_is_a_lasso_on_outliers():
    """At its end, scale and shift of each view are those of a lasso with one penalised column for each pixel."""
    views, *_ = _views(3, n=40)
    sigma = 0.1
    found = robust_fuse(views, 2000, noise_std=sigma, loss="huber", tol=1e-14)
    z = found.z.numpy()
    rows = zip(views.numpy(), found.scale.tolist(), found.shift.tolist(), found.weights.numpy(), strict=True)
    for view, scale, shift, row in rows:
        design = np.column_stack([np.eye(40), z])
        # A constant is fitted without penalty, and a weight of zero lets the slope free.
        weights = np.append(np.ones(40), 0.0)
        path = lasso_path(design, view, alphas=[1.345 * sigma / 40], weights=weights, tol=1e-13, fit_intercept=True)
        coefs = np.asarray(path.coefs)[:, 0]
        assert scale == pytest.approx(coefs[-1], abs=1e-4)
        assert shift == pytest.approx(path.intercepts[0], abs=1e-4)
        residual = view - scale * z - shift
        expected = (residual - coefs[:-1]) / residual
        assert np.abs(expected - row).max() < 1e-2


def test_masked_entries_may_be_anything():
    views, z, *_ = _views(0)
    mask = torch.ones(8, 400, dtype=torch.bool)
    mask[0, :200] = mask[:, 7] = False
    broken = torch.where(mask, views, torch.nan)
    found = robust_fuse(broken, mask=mask)
    assert found.z[7].isnan()
    kept = np.arange(400) != 7
    assert np.corrcoef(found.z.numpy()[kept], z[kept])[0, 1] ** 2 > 0.999
    assert not found.weights[~mask].any()
    seen = found.z[torch.from_numpy(kept)]
    assert float(seen.mean()) == pytest.approx(0.0, abs=1e-10)
    assert float(seen.std(correction=0)) == pytest.approx(1.0)


def test_noise_is_that_of_what_counts():
    views, *_ = _views(2)
    mask = (torch.arange(400) < 150).expand(8, 400)
    found, alone = robust_fuse(views, mask=mask), robust_fuse(views[:, :150])
    assert found.noise_std == pytest.approx(alone.noise_std, rel=1e-9)
    assert torch.allclose(found.z[:150], alone.z, atol=1e-9)


def test_it_stops_where_nothing_falls():
    views, *_ = _views(2)
    few, many = (robust_fuse(views, 500, noise_std=0.05, tol=tol) for tol in (1e-3, 1e-8))
    assert len(few.objectives) < len(many.objectives) < 501
    falls = (few.objectives[:-1] - few.objectives[1:]) / few.objectives[:-1]
    assert bool((falls[:-1] > 1e-3).all())
    assert float(falls[-1]) <= 1e-3


def test_shapes_and_dtypes_are_kept():
    views = _views(1)[0].float().view(8, 20, 20)
    found = robust_fuse(views)
    assert found.z.shape == (20, 20)
    assert found.weights.shape == (8, 20, 20)
    assert {part.dtype for part in (found.z, found.scale, found.shift, found.weights)} == {torch.float32}
    assert torch.allclose(found.z.flatten(), robust_fuse(views.view(8, 400)).z)


def test_flat_and_upside_down_views():
    views, z, *_ = _views(0)
    views[0] = 3.0
    views[1] = -views[1]
    found = robust_fuse(views)
    assert float(found.scale[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(found.scale[1]) < 0 < float(found.scale[2:].min())
    assert np.corrcoef(found.z.numpy(), z)[0, 1] > 0.999
    # Most views agree, and one that is large does not: the sum of scales is what the sign is about.
    turned = torch.from_numpy(np.outer([1.0, 1.0, 1.0, -10.0], z))
    scales = robust_fuse(turned).scale
    assert float(scales[3]) > 0 > float(scales[:3].max())
    # Views most of which is flat have a median deviation of zero.
    step = torch.zeros(3, 50, dtype=torch.float64)
    step[:, :10] = torch.tensor([[1.0], [2.0], [0.5]])
    fused = robust_fuse(step)
    assert torch.allclose(fused.z, (step[0] - 0.2) / 0.4, atol=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match="views must be a tensor of shape"):
        robust_fuse(torch.ones(1, 5))
    with pytest.raises(ValueError, match="views must vary; got views that are all constant"):
        robust_fuse(torch.ones(3, 5))
    with pytest.raises(ValueError, match="views must have at least two entries each that count"):
        robust_fuse(torch.randn(2, 3), mask=torch.tensor([[True, False, False], [True, True, True]]))
    with pytest.raises(ValueError, match="views must be finite"):
        robust_fuse(torch.tensor([[1.0, torch.nan], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="loss must be one of"):
        robust_fuse(torch.randn(2, 5), loss="l2")
    with pytest.raises(ValueError, match="noise_std must be None or a finite positive number"):
        robust_fuse(torch.randn(2, 5), noise_std=0.0)
    with pytest.raises(ValueError, match="noise_std must be nearer to the residuals"):
        robust_fuse(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), noise_std=1e-30)
    with pytest.raises(TypeError, match=r"views must be a tensor of real floating-point numbers; got torch.int64"):
        robust_fuse(torch.arange(10).view(2, 5))
