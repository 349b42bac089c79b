"""K-subspaces climbs, keeps or fills empty subspaces, and certifies where it ends."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsetheory.certificates import Status
from sparsetheory.gpu.representation import k_subspaces, matched_errors, sample_molrg, subspace_error


def _objective(X, bases):
    return float(torch.stack([(X @ basis).square().sum(1) for basis in bases]).amax(0).sum())


@pytest.mark.parametrize("init", ["random", "ssc_omp", "svd"])
@pytest.mark.parametrize("empty", ["reseed", "keep"])
def test_objective_never_falls_and_is_that_of_the_bases(device, init, empty):
    sample = sample_molrg(20, [2, 3, 4], 3, 40, noise_std=0.3, generator=4, dtype=torch.float64, orthogonal=False)
    X = sample.X.to(device)
    fit = k_subspaces(X, 3, [2, 3, 4], init=init, empty=empty, generator=1)
    assert len(fit.objectives) == 2 * fit.n_iter + 1
    assert (fit.objectives.diff() >= -1e-12 * fit.objective).all()
    assert fit.converged
    assert fit.objective == pytest.approx(_objective(X, fit.bases), rel=1e-12)
    assert fit.bases[0].device == X.device
    assert [tuple(basis.shape) for basis in fit.bases] == [(20, 2), (20, 3), (20, 4)]
    certificate = fit.certificate.check(X)
    assert certificate.valid
    assert fit.certificate.status is Status.VALID
    assert certificate.objective <= certificate.upper


def test_no_partition_does_better_on_few_points():
    X = sample_molrg(4, 1, 2, 8, noise_std=0.4, generator=0, dtype=torch.float64, orthogonal=False).X
    best = 0.0
    for code in itertools.product([False, True], repeat=7):
        chosen = torch.tensor((True, *code))
        parts = [X[chosen], X[~chosen]]
        best = max(best, sum(float(torch.linalg.svdvals(part)[0] ** 2) for part in parts if len(part)))
    fit = k_subspaces(X, 2, 1, n_init=30, generator=0)
    assert fit.objective == pytest.approx(best, rel=1e-9)
    assert best <= fit.certificate.upper * (1 + 1e-12)


def test_one_subspace_is_the_principal_one():
    X = torch.randn(30, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fit = k_subspaces(X, 1, 4)
    _, values, right = np.linalg.svd(X.numpy())
    assert subspace_error(fit.bases[0], torch.from_numpy(right[:4].T.copy())) < 1e-10
    assert fit.objective == pytest.approx(np.sum(values[:4] ** 2), rel=1e-12)
    assert fit.objective == pytest.approx(fit.certificate.upper, rel=1e-12)
    # Labels that did not change end it, however much the first bases gained.
    assert fit.n_iter == 1


def _with_an_empty_subspace():
    """Return points along two axes, and bases of which the last holds no point best."""
    X = torch.tensor([[3.0, 0.1, 0.0, 0.0], [2.0, -0.1, 0.0, 0.0], [0.0, 0.5, 2.0, 0.0]], dtype=torch.float64)
    eye = torch.eye(4, dtype=torch.float64)
    return X, [eye[:, :1], eye[:, 3:]]


def test_an_empty_subspace_keeps_its_basis():
    X, bases = _with_an_empty_subspace()
    X = X[:2]
    fit = k_subspaces(X, 2, 1, init=bases, empty="keep")
    assert torch.equal(fit.bases[1], bases[1])
    assert fit.n_reseeds == 0
    assert fit.labels.tolist() == [0, 0]


def test_an_empty_subspace_takes_the_point_that_fits_worst_and_the_objective_climbs():
    X, bases = _with_an_empty_subspace()
    # Without the third point both are far from the first axis by 0.1; of equal distances the first is taken.
    fit = k_subspaces(X[:2], 2, 1, init=bases)
    assert fit.n_reseeds == 1
    assert sorted(fit.labels.tolist()) == [0, 1]
    assert (fit.objectives.diff() >= -1e-12).all()
    assert fit.objective == pytest.approx(float(X[:2].square().sum()), rel=1e-12)


def test_empty_subspaces_take_the_worst_points_one_each():
    eye = torch.eye(6, dtype=torch.float64)
    X = torch.tensor([[5.0, 0.0], [5.0, 0.3], [5.0, -2.0], [5.0, 1.0]], dtype=torch.float64) @ eye[:2]
    fit = k_subspaces(X, 3, 1, init=[eye[:, :1], eye[:, 4:5], eye[:, 5:]], max_iter=1)
    assert fit.n_reseeds == 2
    # The third point is the worst, the last one follows; each is held as a whole, the others by an axis of their own.
    expected = float(X[2:].square().sum() + torch.linalg.svdvals(X[:2])[0] ** 2)
    assert float(fit.objectives[1]) == pytest.approx(expected, rel=1e-12)


def test_starts_after_the_first_are_random():
    """From the worst labels alone it stays where it is."""
    X = sample_molrg(12, 2, 2, 4, generator=0, dtype=torch.float64, orthogonal=False).X.repeat(3, 1)
    bad = [torch.eye(12, dtype=torch.float64)[:, :2]] * 2
    alone, several = (k_subspaces(X, 2, 2, init=bad, n_init=n, max_iter=1, empty="keep") for n in (1, 20))
    assert several.objective > 1.01 * alone.objective


def test_points_within_their_subspaces_are_not_moved():
    X, bases = _with_an_empty_subspace()
    X = X[:2] * torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert k_subspaces(X, 2, 1, init=bases).n_reseeds == 0


def test_fewer_points_than_dimensions_keep_what_was_known():
    # One point: of the plane at the start, what is orthogonal to the point stays.
    eye = torch.eye(5, dtype=torch.float64)
    X = eye[:1] + eye[1:2]
    fit = k_subspaces(X, 1, 2, init=[eye[:, [0, 2]]])
    expected = torch.stack([X[0] / 2**0.5, eye[2]], dim=1)
    assert subspace_error(fit.bases[0], expected) < 1e-12
    assert fit.certificate.check(X).valid


def test_the_best_of_several_starts_is_kept():
    sample = sample_molrg(12, 2, 3, 60, noise_std=0.1, generator=0, dtype=torch.float64)
    source = torch.Generator().manual_seed(3)
    single = [k_subspaces(sample.X, 3, 2, generator=source).objective for _ in range(5)]
    assert max(single) > min(single) * 1.01
    assert k_subspaces(sample.X, 3, 2, n_init=5, generator=3).objective == max(single)


@pytest.mark.parametrize("count", [1, 2])
def test_a_start_knows_nothing_of_a_sample_with_the_same_seed(count):
    """Both draw Gaussian matrices: the numbers of one stream would make the missing directions those of the truth."""
    for seed in range(3):
        sample = sample_molrg(30, 4, count, 2 * count, generator=seed, orthogonal=count == 1, dtype=torch.float64)
        for source in (seed, torch.Generator().manual_seed(seed)):
            fit = k_subspaces(sample.X, count, 4, generator=source)
            assert matched_errors(fit.bases, sample.bases).max() > 1.0


def test_starts_repeat_and_a_generator_goes_on():
    X = sample_molrg(12, 2, 3, 8, generator=0).X
    source = torch.Generator().manual_seed(1)
    first, second, third = (k_subspaces(X, 3, 2, generator=g, max_iter=1) for g in (1, source, source))
    assert torch.equal(first.bases[0], second.bases[0])
    assert not torch.equal(second.bases[0], third.bases[0])


@pytest.mark.parametrize("scale", [2.0**-90, 2.0**-70, 2.0**70, 2.0**110])
@pytest.mark.parametrize("init", ["random", "ssc_omp", "svd"])
def test_sizes_of_points_do_not_matter(scale, init):
    """Squares of such numbers vanish or overflow in single precision."""
    X = sample_molrg(12, 2, 2, 20, noise_std=0.1, generator=0, dtype=torch.float32).X
    plain, scaled = (k_subspaces(points, 2, 2, init=init) for points in (X, scale * X))
    assert torch.equal(plain.bases[0], scaled.bases[0])
    assert scaled.objective == plain.objective * scale**2
    assert torch.equal(scaled.objectives, plain.objectives * scale**2)
    assert scaled.certificate.check(scale * X).valid
    assert scaled.certificate.upper == plain.certificate.upper * scale**2


def test_bases_of_a_lower_precision_are_a_start():
    """Columns that are not quite orthonormal seem to hold more than there is, so that nothing seems to be gained."""
    sample = sample_molrg(30, 6, 2, 60, noise_std=0.05, generator=0, orthogonal=False)
    other = sample_molrg(30, 6, 2, 60, generator=5, orthogonal=False)
    best = k_subspaces(sample.X, 2, 6, init=sample.labels)
    # Nearly orthonormal columns that are too long hold more than the best ones.
    long = k_subspaces(sample.X, 2, 6, init=[(1.015 * basis).bfloat16() for basis in best.bases])
    assert (long.objectives.diff() >= -1e-6 * long.objective).all()
    start = [basis.bfloat16() for basis in other.bases]
    fit = k_subspaces(sample.X, 2, 6, init=start)
    assert (fit.objectives.diff() >= -1e-6 * fit.objective).all()
    assert fit.certificate.check(sample.X).valid
    assert k_subspaces(sample.X, 2, 6, init=torch.stack(start)).objective == fit.objective


def test_labels_that_are_given_are_a_start():
    sample = sample_molrg(12, 2, 3, 60, generator=0, dtype=torch.float64)
    fit = k_subspaces(sample.X, 3, 2, init=sample.labels)
    assert fit.n_iter == 1
    assert matched_errors(fit.bases, sample.bases).max() < 1e-12


def test_other_points_or_numbers_break_the_certificate():
    sample = sample_molrg(12, 2, 2, 30, noise_std=0.1, generator=0, dtype=torch.float64)
    fit = k_subspaces(sample.X, 2, 2, init="ssc_omp")
    certificate = fit.certificate
    assert not certificate.check(sample.X.flip(0)).valid
    assert not certificate.check(1.001 * sample.X).valid
    assert (
        "not orthonormal" in replace(certificate, bases=tuple(2 * b for b in certificate.bases)).check(sample.X).reason
    )
    for change in (
        {"objective": 0.99 * certificate.objective},
        {"objective": 1.01 * certificate.objective},
        {"upper": 0.99 * certificate.upper},
    ):
        assert not replace(certificate, **change).stated().check(sample.X).valid
        assert not replace(certificate, **change).check(sample.X).valid
    swapped = replace(certificate, labels=1 - certificate.labels)
    assert not swapped.check(sample.X).valid
    with pytest.raises(ValueError, match="X must have the shape"):
        certificate.check(sample.X[:-1])


def test_labels_alone_may_hold_more():
    """Both points are in the first subspace, whose basis is the best for them; the second one holds a point better."""
    X, eye = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64)), np.eye(2)
    fit = k_subspaces(X, 2, 1, init=[torch.eye(2, dtype=torch.float64)[:, [k]] for k in (0, 1)])
    stale = replace(fit.certificate, labels=np.zeros(2, dtype=np.int64), objective=4.0).stated()
    assert np.allclose(np.abs(stale.bases[1]), eye[:, 1:])
    checked = stale.check(X)
    assert checked.status is Status.INVALID
    assert checked.measured == pytest.approx(0.2)


def test_a_run_that_was_cut_short_is_not_certified():
    sample = sample_molrg(20, 3, 3, 90, noise_std=0.3, generator=1, dtype=torch.float64)
    fit = k_subspaces(sample.X, 3, 3, max_iter=1)
    assert not fit.converged
    assert fit.certificate.status is Status.INVALID
    assert not fit.certificate.check(sample.X).valid


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_precision_of_the_points_is_that_of_the_bases(dtype):
    sample = sample_molrg(20, 2, 2, 40, noise_std=0.05, generator=0)
    X = sample.X.to(dtype)
    fit = k_subspaces(X, 2, 2, init="ssc_omp")
    assert fit.bases[0].dtype == dtype
    assert fit.certificate.check(X.double()).valid
    assert fit.objective == pytest.approx(_objective(X.double(), [b.double() for b in fit.bases]), rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"X": torch.ones(3)}, "X must be a matrix"),
        ({"X": torch.full((5, 4), torch.inf)}, "X must be finite"),
        ({"n_subspaces": 6}, "n_subspaces must be at most the number of points, 5"),
        ({"n_components": 5}, "n_components must be at most the number of features, 4"),
        ({"n_components": [1, 2, 3]}, "n_components must be one number, or one for each of 2"),
        ({"init": "kmeans"}, "init must be one of"),
        ({"init": None}, "init must be the name of a start, labels, or a sequence of bases; got None"),
        ({"init": [torch.eye(4)[:, :1], torch.eye(4)[:, :1].double()]}, "init must hold bases of one dtype"),
        ({"init": torch.zeros(4, dtype=torch.int64)}, "init must hold one label"),
        ({"init": torch.full((5,), 2)}, "init must hold labels from 0 to 1"),
        ({"init": [torch.eye(4)[:, :1]]}, "init must hold bases of the shapes"),
        ({"init": [torch.ones(4, 1), torch.ones(4, 1)]}, "init must have orthonormal columns"),
        ({"empty": "drop"}, "empty"),
        ({"n_init": 0}, "n_init"),
        ({"generator": -1}, "generator"),
    ],
)
def test_bad_arguments_are_named(arguments, match):
    given = {"X": torch.randn(5, 4), "n_subspaces": 2, "n_components": 1, **arguments}
    with pytest.raises(ValueError, match=match):
        k_subspaces(**given)


def test_points_must_be_floating_point_numbers():
    with pytest.raises(TypeError, match="X must be a tensor"):
        k_subspaces(torch.ones(3, 3, dtype=torch.int64), 1, 1)
