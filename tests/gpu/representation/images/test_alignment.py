"""Scale and shift against polyfit, medians by hand, degenerate priors, and rotations."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from sparsetheory.gpu.representation import align_scale_shift, kabsch


def _pair(n=40, seed=0):
    rng = np.random.default_rng(seed)
    prior = rng.standard_normal(n)
    return prior, 1.7 * prior - 0.4 + 0.2 * rng.standard_normal(n), rng.random(n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weighted_least_squares(dtype, device):
    prior, depth, weights = _pair()
    scale, shift = np.polyfit(prior, depth, 1, w=np.sqrt(weights))
    loss = (weights * (scale * prior + shift - depth) ** 2).sum() / weights.sum()
    found = align_scale_shift(*(torch.from_numpy(part).to(device, dtype) for part in (prior, depth, weights)))
    tol = 1e-5 if dtype == torch.float32 else 1e-10
    assert (found.scale, found.shift, found.loss) == pytest.approx((scale, shift, loss), rel=tol)
    assert not found.is_degenerate
    aligned = found.apply(torch.from_numpy(prior))
    assert np.abs(aligned.numpy() - scale * prior - shift).max() < 10 * tol


def test_medians_by_hand():
    prior, depth = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]), torch.tensor([10.0, 12.0, 14.0, 16.0, 98.0])
    found = align_scale_shift(prior, depth, robust=True)
    # Medians 2 and 14; mean distances 6/5 and (4 + 2 + 0 + 2 + 84) / 5.
    assert found.scale == pytest.approx(92 / 6)
    assert found.shift == pytest.approx(14 - 2 * 92 / 6)
    distances = sorted(
        abs(found.scale * p + found.shift - z) for p, z in zip(prior.tolist(), depth.tolist(), strict=True)
    )
    assert found.loss == pytest.approx(sum(distances[:4]) / 4)
    even = align_scale_shift(prior[:4], 2 * prior[:4] + 1, robust=True)
    assert (even.scale, even.shift, even.loss) == pytest.approx((2.0, 1.0, 0.0))


def test_the_median_of_an_even_number_is_in_the_middle():
    found = align_scale_shift(torch.tensor([0.0, 1.0, 2.0, 10.0]), torch.tensor([5.0, 6.0, 7.0, 8.0]), robust=True)
    # Mean distances from 1.5 and 6.5.
    assert found.scale == pytest.approx(1.0 / 2.75)
    assert found.shift == pytest.approx(6.5 - 1.5 / 2.75)


def test_weights_repeat_entries_in_both_forms():
    prior, depth, _ = _pair(7)
    counts = np.array([1, 2, 3, 1, 1, 2, 1])
    whole = [torch.from_numpy(np.repeat(part, counts)) for part in (prior, depth)]
    for robust in (False, True):
        weighted = align_scale_shift(*map(torch.from_numpy, (prior, depth, counts)), robust)
        repeated = align_scale_shift(*whole, robust=robust)
        assert weighted.scale == pytest.approx(repeated.scale, rel=1e-10)
        assert weighted.shift == pytest.approx(repeated.shift, rel=1e-10)
        assert weighted.loss == pytest.approx(repeated.loss, rel=1e-10)


@pytest.mark.parametrize("robust", [False, True])
def test_priors_that_tell_nothing(robust):
    depth = torch.tensor([1.0, 2.0, 6.0])
    for value in (0.0, 0.1, 1e30):
        found = align_scale_shift(torch.full((3,), value), depth, robust=robust)
        assert found.scale == 0.0
        assert found.is_degenerate
        assert found.shift == pytest.approx(2.0 if robust else 3.0)
    # Equal but for a rounding: the slope would be that of the rounding.
    nearly = torch.tensor([0.3, 0.1 + 0.2, 0.3], dtype=torch.float64)
    assert len(set(nearly.tolist())) == 2
    assert align_scale_shift(nearly, depth, robust=robust).scale == 0.0
    flat = align_scale_shift(depth, torch.full((3,), 0.7), robust=robust)
    assert (flat.scale, flat.loss) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_upside_down():
    prior = torch.tensor([3.0, 2.0, 0.0])
    found = align_scale_shift(prior, -2 * prior + 1)
    assert (found.scale, found.shift, found.loss) == pytest.approx((-2.0, 1.0, 0.0), abs=1e-12)
    assert found.is_degenerate
    # Medians and distances have no sign: the robust form does not see it in the scale, but in the loss.
    robust = align_scale_shift(prior, -2 * prior + 1, robust=True)
    assert robust.scale > 0
    assert robust.loss > 1.0


def test_masks_hide_anything():
    prior, depth = torch.tensor([1.0, 2.0, 5.0, torch.nan]), torch.tensor([2.0, 4.0, torch.inf, 0.0])
    found = align_scale_shift(prior, depth, torch.tensor([True, True, False, False]))
    assert (found.scale, found.shift) == pytest.approx((2.0, 0.0), abs=1e-12)


def test_bad_alignments():
    ones = torch.ones(3)
    with pytest.raises(ValueError, match="weights must be positive for at least two entries; got 1"):
        align_scale_shift(ones, ones, torch.tensor([0.0, 1.0, 0.0]))
    with pytest.raises(ValueError, match="weights must be at least 0; got -1"):
        align_scale_shift(ones, ones, torch.tensor([1.0, 1.0, -1.0]))
    with pytest.raises(ValueError, match="prior must be finite"):
        align_scale_shift(torch.tensor([1.0, torch.nan]), torch.ones(2))
    with pytest.raises(TypeError, match="weights must be a tensor; got list"):
        align_scale_shift(ones, ones, [1.0, 1.0, 1.0])
    with pytest.raises(TypeError, match="depth must be a tensor; got ndarray"):
        align_scale_shift(ones, ones.numpy())
    with pytest.raises(ValueError, match="prior, depth and weights must have one shape"):
        align_scale_shift(ones, torch.ones(4))


def test_rotations_of_scipy(device):
    rng = np.random.default_rng(0)
    n, m = rng.standard_normal((2, 20, 3))
    expected = Rotation.align_vectors(m, n)[0].as_matrix()
    found = kabsch(torch.from_numpy(n).to(device), torch.from_numpy(m).to(device))
    assert np.abs(found.cpu().numpy() - expected).max() < 1e-10


def test_mirrored_normals_get_a_rotation():
    n = torch.eye(3, dtype=torch.float64)
    mirrored = n @ torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    found = kabsch(n, mirrored)
    assert float(torch.linalg.det(found)) == pytest.approx(1.0)
    assert torch.allclose(found @ found.T, n)


def test_batches_of_normals():
    n, m = torch.randn(2, 4, 9, 3, generator=torch.Generator().manual_seed(1))
    found = kabsch(n, m)
    assert found.shape == (4, 3, 3)
    for one, first, second in zip(found, n, m, strict=True):
        assert torch.allclose(one, kabsch(first, second), atol=1e-5)


def test_bad_normals():
    with pytest.raises(ValueError, match="n and m must have one shape"):
        kabsch(torch.ones(2, 3), torch.ones(3, 3))
    with pytest.raises(ValueError, match="n must be finite"):
        kabsch(torch.full((2, 3), torch.nan), torch.ones(2, 3))
