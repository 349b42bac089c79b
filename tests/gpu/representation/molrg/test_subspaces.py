"""Samples, distances of subspaces, eigengaps, and ranks of Jacobians."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import (
    MoLRGDenoiser,
    eigengap,
    jacobian_rank,
    matched_errors,
    sample_molrg,
    subspace_error,
)


def test_points_lie_on_orthogonal_subspaces():
    sample = sample_molrg(20, [2, 4], 2, [30, 50], generator=0, dtype=torch.float64)
    assert sample.labels.bincount().tolist() == [30, 50]
    assert (sample.bases[0].mT @ sample.bases[1]).abs().max() < 1e-14
    for k, basis in enumerate(sample.bases):
        own = sample.X[sample.labels == k]
        torch.testing.assert_close(own @ basis @ basis.mT, own)
        # The mean square of 30 x 2 or more standard normals.
        assert 0.5 < float((own @ basis).square().mean()) < 1.6


def test_points_are_shared_out_evenly_and_mixed():
    sample = sample_molrg(20, 2, 3, 50, generator=0)
    assert sample.labels.bincount().tolist() == [17, 17, 16]
    assert (sample.labels.diff() != 0).sum() > 10


def test_noise_has_the_standard_deviation_given():
    sample = sample_molrg(200, 1, 1, 100, noise_std=0.3, generator=0, dtype=torch.float64)
    basis = sample.bases[0]
    off = sample.X - sample.X @ basis @ basis.mT
    assert float(off.square().sum() / (100 * 199)) ** 0.5 == pytest.approx(0.3, rel=0.03)


def test_independent_subspaces_may_be_more_than_fit():
    sample = sample_molrg(5, 3, 4, 8, generator=0, orthogonal=False)
    assert len(sample.bases) == 4
    with pytest.raises(ValueError, match="n_components must add up to at most n_features=5"):
        sample_molrg(5, 3, 4, 8)


def test_draws_repeat_and_a_generator_goes_on():
    assert torch.equal(sample_molrg(9, 2, 2, 6, generator=1).X, sample_molrg(9, 2, 2, 6, generator=1).X)
    source = torch.Generator().manual_seed(1)
    first, second = (sample_molrg(9, 2, 2, 6, generator=source).X for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, 1, 1, 1), "n_features"),
        ((4, 5, 1, 1), "n_components must be at most"),
        ((4, [1], 2, 2), "n_components must be one number"),
        ((4, 1, 2, [2]), "n_samples must be one number"),
        ((4, 1, 2, 0), "n_samples"),
        ((4, 1, 1, 1, -0.1), "noise_std"),
    ],
)
def test_bad_sizes_are_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        sample_molrg(*arguments)


@pytest.mark.parametrize("dtype", [torch.int64, "float32"])
def test_samples_have_a_floating_point_dtype(dtype):
    with pytest.raises(ValueError, match="dtype must be a floating-point dtype of torch"):
        sample_molrg(4, 1, 1, 1, dtype=dtype)


@pytest.mark.parametrize(("first", "second"), [(3, 3), (2, 5), (1, 7)])
def test_error_is_the_norm_of_the_difference_of_projections(device, first, second):
    U, V = (np.linalg.qr(np.random.default_rng(k).standard_normal((8, k)))[0] for k in (first, second))
    expected = np.linalg.norm(U @ U.T - V @ V.T)
    found = subspace_error(torch.from_numpy(U).to(device), torch.from_numpy(V).to(device))
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_small_errors_do_not_cancel():
    U = torch.eye(4, dtype=torch.float64)[:, :2]
    V = torch.linalg.qr(U + 1e-11 * torch.eye(4, dtype=torch.float64)[:, 2:]).Q
    # Two angles of 1e-11, where one minus their squared cosines is zero in double precision.
    assert float(subspace_error(U, V)) == pytest.approx(2e-11, rel=1e-3)


def test_errors_of_a_batch_are_those_of_its_parts():
    bases = torch.linalg.qr(torch.randn(3, 7, 2, dtype=torch.float64)).Q
    found = subspace_error(bases, bases[:1])
    torch.testing.assert_close(found, torch.stack([subspace_error(basis, bases[0]) for basis in bases]))
    assert subspace_error(bases[:0], bases[:1]).shape == (0,)


def test_matching_undoes_a_permutation():
    truth = sample_molrg(12, 2, 4, 4, generator=0, dtype=torch.float64).bases
    assert matched_errors([truth[k] for k in (2, 0, 3, 1)], truth).max() < 1e-14
    with pytest.raises(ValueError, match="equally many"):
        matched_errors(truth[:2], truth)


@pytest.mark.parametrize(
    ("U", "V", "match"),
    [
        (torch.ones(3, 1), torch.eye(3)[:, :1], "U must have orthonormal"),
        (2 * torch.eye(9, dtype=torch.bfloat16)[:, :1], torch.eye(9)[:, :1], "U must have orthonormal"),
        (torch.eye(3)[:, :1], torch.eye(4)[:, :1], "equally many rows"),
        (torch.eye(3)[:1], torch.eye(3)[:1], "from one column to as many as rows"),
    ],
)
def test_bad_bases_are_named(U, V, match):
    with pytest.raises(ValueError, match=match):
        subspace_error(U, V)


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("width", [1, 3, 6])
def test_eigengap_is_the_dimension(width, noise):
    for seed in range(5):
        assert eigengap(sample_molrg(40, width, 1, 30, noise_std=noise, generator=seed).X) == width


def test_eigengap_of_odd_matrices():
    assert eigengap(torch.zeros(4, 3)) == 1
    assert eigengap(torch.ones(1, 1)) == 1
    assert eigengap(torch.diag(torch.tensor([9.0, 8.0, 1.0, 0.5])), max_components=1) == 1
    with pytest.raises(ValueError, match="X must be a matrix"):
        eigengap(torch.zeros(0, 3))


def test_rank_of_a_linear_map():
    values = torch.tensor([5.0, 3.0, 1.0, 0.1])
    # Shares of the norm: 0.845, 0.986, 0.9999.
    assert [jacobian_rank(lambda x: values * x, torch.ones(4), fraction) for fraction in (0.8, 0.98, 0.99)] == [1, 2, 3]
    assert jacobian_rank(lambda x: 0.0 * x, torch.ones(4)) == 0
    assert jacobian_rank(lambda x: (values.view(2, 2) * x).sum(0), torch.ones(2, 2)) == 2


def test_rank_of_a_denoiser_is_the_dimension_of_the_subspace_near_by():
    sample = sample_molrg(30, [3, 6], 2, 10, generator=0, dtype=torch.float64)
    denoiser = MoLRGDenoiser(sample.bases)
    for k, width in enumerate((3, 6)):
        x = sample.X[sample.labels == k][0]
        assert jacobian_rank(lambda point: denoiser(point, 0.1), x) == width


def test_bad_points_and_functions_are_named():
    with pytest.raises(ValueError, match="x must be finite"):
        jacobian_rank(lambda x: x, torch.tensor([torch.nan]))
    with pytest.raises(ValueError, match="x must have at least one entry"):
        jacobian_rank(lambda x: x, torch.zeros(0))
    with pytest.raises(ValueError, match="fraction"):
        jacobian_rank(lambda x: x, torch.ones(2), 1.0)
    with pytest.raises(ValueError, match="the Jacobian of f at x must be finite"):
        jacobian_rank(lambda x: x.sqrt(), torch.zeros(2))
