"""Codes over the other points, groups from them, and groups that share a basis."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import OrthogonalMatchingPursuit
from sklearn.metrics import adjusted_rand_score

from sparsetheory.gpu.representation import sample_molrg, self_expressive_codes, ssc_omp, svd_start


def test_codes_are_those_of_a_pursuit_over_the_other_points(device):
    X = (
        torch.randn(15, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        * torch.logspace(-2, 2, 15)[:, None]
    )
    codes = self_expressive_codes(X.to(device), 3).cpu().numpy()
    unit = (X / X.norm(dim=1, keepdim=True)).numpy()
    assert (np.diag(codes) == 0).all()
    for i in range(15):
        others = np.arange(15) != i
        peer = OrthogonalMatchingPursuit(n_nonzero_coefs=3, fit_intercept=False).fit(unit[others].T, unit[i])
        np.testing.assert_allclose(codes[i, others], peer.coef_, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_codes_stay_on_orthogonal_subspaces(dtype):
    # With as many points as dimensions nothing fits a point exactly, and the pursuit must not go astray in rounding.
    sample = sample_molrg(20, 3, 3, 9, generator=6, dtype=dtype)
    codes = self_expressive_codes(sample.X, 5)
    other = sample.labels[:, None] != sample.labels
    assert (codes[other] == 0).all()
    assert (codes != 0).sum() > 9


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_sizes_of_points_do_not_matter(scale):
    sample = sample_molrg(20, 3, 2, 20, generator=6, dtype=torch.float32)
    torch.testing.assert_close(self_expressive_codes(scale * sample.X, 3), self_expressive_codes(sample.X, 3))


def test_zero_points_have_no_code():
    X = torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    codes = self_expressive_codes(X, 1)
    assert codes[1].eq(0).all()
    assert codes[:, 1].eq(0).all()
    assert ssc_omp(X, 2, 1).shape == (3,)


@pytest.mark.parametrize("start", [lambda X: ssc_omp(X, 3, 3), lambda X: svd_start(X, 3, 3).labels])
def test_groups_are_the_subspaces_whatever_the_order(start):
    sample = sample_molrg(30, 3, 3, 36, noise_std=0.02, generator=0, dtype=torch.float64)
    order = torch.randperm(36, generator=torch.Generator().manual_seed(1))
    for rows in (torch.arange(36), order):
        labels = start(sample.X[rows])
        assert adjusted_rand_score(sample.labels[rows], labels) == 1.0


def test_graphs_that_fall_apart_do_not_warn(recwarn):
    ssc_omp(sample_molrg(30, 3, 3, 36, generator=0).X, 3, 3)
    assert not [warning for warning in recwarn if "connected" in str(warning.message)]


def test_shared_bases_carry_a_certificate():
    sample = sample_molrg(30, 3, 3, 36, noise_std=0.05, generator=0, dtype=torch.float64)
    start = svd_start(sample.X, 3, 3)
    assert start.certificate.check(start.blocks).valid
    assert 0.01 < start.certificate.bound < 0.3
    assert not start.certificate.check([np.roll(block, 1, axis=0) for block in start.blocks]).valid


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: self_expressive_codes(torch.ones(1, 3), 1), "X must hold at least two points"),
        (lambda: self_expressive_codes(torch.ones(3, 3), 0), "n_nonzero"),
        (lambda: ssc_omp(torch.ones(3, 3), 4, 1), "n_subspaces must be at most the number of points, 3"),
        (lambda: svd_start(torch.zeros(3, 3), 2, 1), "X must hold no zero points; number 0"),
        (lambda: svd_start(torch.ones(3, 3), 4, 1), "n_subspaces must be at most"),
        (lambda: svd_start(torch.ones(3), 1, 1), "X must be a matrix"),
    ],
)
def test_bad_arguments_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_points_that_are_orthogonal_but_for_rounding_are_not_taken():
    X = torch.tensor([[1.0, 0.0], [1e-16, 1.0]], dtype=torch.float64)
    assert self_expressive_codes(X, 1).eq(0).all()
