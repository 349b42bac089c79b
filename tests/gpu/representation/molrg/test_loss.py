"""The loss is a mean squared error, its expectation a formula, and its minimiser the principal subspace."""

import pytest
import torch

from sparsetheory.gpu.representation import (
    MoLRGDenoiser,
    k_subspaces,
    matched_errors,
    molrg_fit,
    molrg_loss,
    sample_molrg,
    subspace_error,
)


def _denoiser(widths, assignment="soft", seed=5):
    bases = sample_molrg(8, widths, len(widths), 4, generator=seed, orthogonal=False, dtype=torch.float64).bases
    return MoLRGDenoiser(bases, assignment=assignment)


@pytest.mark.parametrize(("widths", "assignment"), [((3,), "soft"), ((2, 3), "hard"), ((2, 2), "soft")])
def test_drawn_loss_is_the_error_of_denoised_points(widths, assignment):
    denoiser, X = _denoiser(widths, assignment), torch.randn(6, 8, dtype=torch.float64)
    noise, scale = torch.rand(6, dtype=torch.float64) + 0.1, torch.rand(6, dtype=torch.float64) + 0.1
    drawn = torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    labels = denoiser.assign(X) if assignment == "hard" else [None] * 6
    errors = [
        (denoiser(scale[i] * X[i] + noise[i] * drawn[i], noise[i], scale[i], labels[i]) - X[i]).square().sum()
        for i in range(6)
    ]
    found = molrg_loss(denoiser, X, noise, scale=scale, generator=7)
    torch.testing.assert_close(found, torch.stack(errors).mean())


@pytest.mark.parametrize(("widths", "assignment"), [((3,), "soft"), ((2, 3), "hard")])
def test_expected_loss_is_the_mean_of_drawn_ones(widths, assignment):
    denoiser, X = _denoiser(widths, assignment), torch.randn(5, 8, dtype=torch.float64)
    many = X.repeat(40_000, 1)
    drawn = molrg_loss(denoiser, many, 0.7, scale=0.8, generator=0)
    exact = molrg_loss(denoiser, X, 0.7, scale=0.8, expected=True)
    # The standard error of the mean is about 5e-4 of it.
    torch.testing.assert_close(drawn, exact, rtol=1e-2, atol=0)


def _trained(denoiser, X, steps=300, noise=0.6, lr=0.05):
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        molrg_loss(denoiser, X, noise, expected=True).backward()
        optimizer.step()
        scheduler.step()
    return denoiser


def test_training_with_one_subspace_is_principal_component_analysis():
    X = sample_molrg(8, 3, 1, 40, noise_std=0.1, generator=0, dtype=torch.float64).X
    found = _trained(_denoiser((3,)), X)
    principal = torch.linalg.svd(X).Vh[:3].mT
    assert subspace_error(found.bases[0], principal) < 1e-3


@pytest.mark.parametrize("seed", [5, 6])
def test_training_with_hard_assignment_ends_in_a_fixed_point_of_k_subspaces(seed):
    # Which one of several may differ from where alternation goes from the same start.
    X = sample_molrg(8, 2, 2, 40, noise_std=0.05, generator=0, dtype=torch.float64).X
    start = _denoiser((2, 2), "hard", seed)
    first = start.bases[0].clone()
    found = _trained(start, X)
    expected = k_subspaces(X, 2, 2, init=found.bases)
    assert matched_errors(found.bases, expected.bases).max() < 1e-3
    assert subspace_error(found.bases[0], first) > 0.1


def test_expectation_is_refused_where_it_is_not_known():
    with pytest.raises(ValueError, match="expected must be False"):
        molrg_loss(_denoiser((2, 2)), torch.ones(2, 8, dtype=torch.float64), 1.0, expected=True)
    for noise in (0.0, torch.tensor([1.0, -1.0])):
        with pytest.raises(ValueError, match="noise_std"):
            molrg_loss(_denoiser((2,)), torch.ones(2, 8, dtype=torch.float64), noise, expected=True)
    with pytest.raises(ValueError, match="X must be"):
        molrg_loss(_denoiser((2,)), torch.ones(8, dtype=torch.float64), 1.0)
    X = torch.ones(4, 8, dtype=torch.float64)
    for expected in (True, False):
        for noise in (0.0, -1.0, float("inf"), torch.ones(4, 1), torch.ones(3)):
            with pytest.raises(ValueError, match="noise_std must be"):
                molrg_loss(_denoiser((2,)), X, noise, expected=expected)
        with pytest.raises(ValueError, match=r"x must be a tensor of floats of shape \(\.\.\., 8\)"):
            molrg_loss(_denoiser((2,)), X[:, :5], 1.0, expected=expected)
    with pytest.raises(ValueError, match="X must be finite"):
        molrg_loss(_denoiser((2,)), torch.full((2, 8), torch.nan, dtype=torch.float64), 1.0)


@pytest.mark.parametrize("init", ["ssc_omp", "svd"])
def test_a_fit_finds_subspaces_and_training_by_gradients_stays_there(init):
    sample = sample_molrg(30, 3, 2, 40, noise_std=0.02, generator=1)
    plain = molrg_fit(sample.X, 2, 3, init=init)
    trained = molrg_fit(sample.X, 2, 3, init=init, n_steps=30, noise_std=0.3)
    assert matched_errors(plain.denoiser.bases, sample.bases).max() < 0.2
    assert matched_errors(trained.denoiser.bases, sample.bases).max() < 0.4
    assert len(trained.losses) == 30
    assert not torch.equal(trained.denoiser.bases[0], plain.denoiser.bases[0])
    torch.testing.assert_close(plain.denoiser.log_weights.exp(), plain.subspaces.labels.bincount() / 40)


def test_unequal_dimensions_are_found_by_the_eigengap():
    sample = sample_molrg(40, [2, 5, 3], 3, [20, 30, 24], generator=2, dtype=torch.float64)
    fit = molrg_fit(sample.X, 3, None)
    assert sorted(fit.denoiser.widths) == [2, 3, 5]
    order = [fit.denoiser.widths.index(width) for width in (2, 5, 3)]
    for k, basis in zip(order, sample.bases, strict=True):
        assert subspace_error(fit.denoiser.bases[k], basis) < 1e-6


def test_a_fit_says_what_it_needs():
    X = torch.randn(10, 6)
    with pytest.raises(ValueError, match="noise_std, the noise of the training, is needed"):
        molrg_fit(X, 2, 2, n_steps=1)
    with pytest.raises(ValueError, match="n_subspaces must be an integer from 1"):
        molrg_fit(X, 0, None)
    with pytest.raises(ValueError, match="X must be a matrix"):
        molrg_fit(X[0], 2, None)
    with pytest.raises(ValueError, match="n_components must be given with init='svd'"):
        molrg_fit(X, 2, None, init="svd")
