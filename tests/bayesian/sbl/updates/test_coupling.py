"""Variances that neighbours share."""

import warnings

import numpy as np
import pytest
from bayesian.kron_references import random_problem
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian import KroneckerSBL, irs_nmse, make_irs_mimo, make_kron_sparse
from sparsetheory.bayesian.sbl.updates.coupling import coupling_matrices, neighbour_coupling


def _fit(model, As, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(As, y)


def test_neighbours_do_not_wrap_around():
    np.testing.assert_array_equal(neighbour_coupling(3, 0.5), [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]])
    assert coupling_matrices(None, (2, 3)) == coupling_matrices((None, None), (2, 3)) == [None, None]
    first, second = coupling_matrices((None, 0.8), (2, 3))
    assert first is None
    np.testing.assert_array_equal(second, neighbour_coupling(3, 0.8))
    assert len(coupling_matrices(0.8, (2, 3))) == 2


@pytest.mark.parametrize("noise", ["learn", 0.1])
def test_cost_falls_for_any_coupling_without_negative_entries(rng, noise):
    for trial in range(15):
        As, y, _, _ = random_problem(rng, 1 + trial % 3, trial % 2 == 0, low=2)
        coupling = [rng.uniform(0, 1, (A.shape[1],) * 2) + 0.01 if rng.random() < 0.7 else None for A in As]
        init = [rng.uniform(0.1, 2, A.shape[1]) for A in As]
        model = _fit(
            KroneckerSBL(noise_variance=noise, coupling=coupling, relative_threshold=0.0, max_iter=40, init=init), As, y
        )
        assert model.cost_rises_.size == 0
        assert model.certificate_.check(As, y).valid is model.converged_


def test_identity_is_no_coupling():
    p = make_kron_sparse((4, 5), (6, 7), (2, 2), snr_db=20, random_state=0)
    plain = KroneckerSBL(max_iter=30, tol=0.0).fit(p.dictionaries, p.y)
    coupled = KroneckerSBL(max_iter=30, tol=0.0, coupling=(np.eye(6), 0.0)).fit(p.dictionaries, p.y)
    np.testing.assert_allclose(coupled.coef_, plain.coef_, atol=1e-10)


def test_certificate_is_about_latent_factors():
    """At a stationary point of the latents the derivatives by the variances themselves need not vanish."""
    p = make_kron_sparse((5, 5), (7, 7), (3, 3), snr_db=20, random_state=2)
    model = _fit(KroneckerSBL(coupling=0.8, relative_threshold=0.0, tol=1e-6, max_iter=4000), p.dictionaries, p.y)
    checked = model.certificate_.check(p.dictionaries, p.y)
    assert checked.valid
    assert checked.measured < 1e-6
    for C, z, gamma in zip(checked.couplings, checked.latents, model.variances_, strict=True):
        np.testing.assert_allclose(C @ z, gamma, rtol=1e-12)


def test_pruned_rows_keep_the_latents_that_touch_kept_ones():
    p = make_irs_mimo(
        n_mobile_antennas=3,
        n_base_antennas=5,
        n_surface_elements=32,
        n_angles=8,
        n_pilots=3,
        n_patterns=4,
        angular_spread=3,
        snr_db=15,
        random_state=1,
    )
    model = _fit(
        KroneckerSBL(noise_variance=p.noise_variance, coupling=(0.8, None, 0.8), relative_threshold=1e-2),
        p.dictionaries,
        p.y,
    )
    assert model.kept_[0].size < 8
    certificate = model.certificate_.check(p.dictionaries, p.y)
    assert certificate.valid
    assert certificate.couplings[0].shape[1] >= model.kept_[0].size


@pytest.mark.parametrize("step", ["mm", "nnls"])
def test_scale_equivariance(step):
    p = make_kron_sparse((5, 5), (7, 7), (3, 3), snr_db=20, random_state=2)
    settings = {
        "coupling": 0.5,
        "coupling_update": step,
        "max_iter": 25,
        "tol": 0.0,
        "relative_threshold": 0.0,
        "max_inner_iter": 3,
    }
    base = KroneckerSBL(noise_variance=p.noise_variance, **settings).fit(p.dictionaries, p.y)
    small = KroneckerSBL(noise_variance=1e-6 * p.noise_variance, **settings).fit(p.dictionaries, 1e-3 * p.y)
    np.testing.assert_allclose(small.coef_, 1e-3 * base.coef_, atol=1e-9)


def test_monotone_step_beats_the_published_one_at_low_snr():
    errors = {"mm": [], "nnls": [], "am": []}
    for seed in range(4):
        p = make_irs_mimo(
            n_mobile_antennas=4,
            n_base_antennas=8,
            n_surface_elements=64,
            n_angles=12,
            n_pilots=3,
            n_patterns=6,
            snr_db=6,
            random_state=seed,
        )
        rel = (1e-2, 1e-1, 1e-2)
        published = {"max_iter": 150, "absolute_threshold": 1e-4, "update": "am", "noise_variance": p.noise_variance}
        published |= {"pruning": "published", "init": [np.ones(A.shape[1]) for A in p.dictionaries]}
        models = {
            "mm": KroneckerSBL(noise_variance=p.noise_variance, coupling=(0.8, None, 0.8)),
            "nnls": KroneckerSBL(
                relative_threshold=rel, coupling=(0.8, None, 0.8), coupling_update="nnls", max_inner_iter=9, **published
            ),
            "am": KroneckerSBL(relative_threshold=(1e-2, 1e-1, 1e-3), **published),
        }
        for name, model in models.items():
            errors[name].append(irs_nmse(p, _fit(model, p.dictionaries, p.y).coef_))
    assert np.mean(errors["mm"]) < min(np.mean(errors["nnls"]), np.mean(errors["am"]))
