"""Greedy pursuits with Kronecker dictionaries."""

import numpy as np
import pytest
from bayesian.kron_references import kron

from sparsetheory.bayesian import KroneckerOMP, kron_omp_batch, make_kron_sparse


def _dense_omp(A, y, limit, max_atoms):
    atoms, coef, r = [], np.zeros(0), y
    while np.linalg.norm(r) > limit and len(atoms) < max_atoms:
        atoms.append(int(np.argmax(np.abs(A.conj().T @ r))))
        coef = np.linalg.lstsq(A[:, atoms], y, rcond=None)[0]
        r = y - A[:, atoms] @ coef
    return atoms, coef, np.linalg.norm(r)


@pytest.mark.parametrize("is_complex", [False, True])
def test_batch_picks_the_atoms_of_dense_omp(is_complex):
    for seed in range(6):
        p = make_kron_sparse(
            (5, 4, 4), (6, 6, 5), (2, 2, 2), snr_db=15, separable=False, complex_data=is_complex, random_state=seed
        )
        A, limit = kron(p.dictionaries), np.sqrt(80 * p.noise_variance)
        atoms, coef, norm = _dense_omp(A, p.y, limit, 40)
        result = kron_omp_batch(p.dictionaries, p.y, noise_variance=p.noise_variance, n_nonzero=40)
        assert result.support.tolist() == atoms
        np.testing.assert_allclose(result.coef[atoms], coef, atol=1e-8)
        assert result.residual_norm == pytest.approx(norm)


def test_batch_stops_by_itself(rng):
    p = make_kron_sparse((3, 3), (4, 4), (1, 1), snr_db=300, random_state=0)
    result = kron_omp_batch(p.dictionaries, p.y)
    assert result.support.size <= 9
    np.testing.assert_allclose(kron(p.dictionaries) @ result.coef, p.y, atol=1e-6)
    assert kron_omp_batch(p.dictionaries, 0 * p.y).support.size == 0
    # The second column is a copy: it cannot be selected after the first.
    copies = [np.ones((2, 2))]
    assert kron_omp_batch(copies, [1.0, 0.5]).support.tolist() == [0]


def _literal_komp(As, y, caps, eps, normalize):
    Y = y.reshape([A.shape[0] for A in As])
    R, supports, Z = Y, [[] for _ in As], None
    norms = [np.linalg.norm(A, axis=0) if normalize else np.ones(A.shape[1]) for A in As]
    while True:
        c = np.abs(kron([A / n for A, n in zip(As, norms, strict=True)]).conj().T @ R.ravel())
        where = np.unravel_index(np.argmax(c), [A.shape[1] for A in As])
        added = False
        for S, i, cap in zip(supports, where, caps, strict=True):
            if i not in S and len(S) < cap:
                S.append(int(i))
                added = True
        if not added:
            break
        B = kron([A[:, S] for A, S in zip(As, supports, strict=True)])
        Z = np.linalg.pinv(B) @ y
        R = (y - B @ Z).reshape(Y.shape)
        full = all(len(S) >= cap for S, cap in zip(supports, caps, strict=True))
        if full or np.linalg.norm(R) <= eps * np.linalg.norm(y):
            break
    x = np.zeros([A.shape[1] for A in As], dtype=Z.dtype)
    x[np.ix_(*supports)] = Z.reshape([len(S) for S in supports])
    return x.ravel()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("is_complex", [False, True])
def test_kronecker_omp_follows_its_definition(is_complex, normalize):
    for seed, caps in enumerate([(3, 2, 4), (10, 10, 10), (2, 2, 2)]):
        p = make_kron_sparse((4, 3, 4), (5, 4, 5), (2, 2, 2), snr_db=15, complex_data=is_complex, random_state=seed)
        model = KroneckerOMP(caps, normalize=normalize).fit(p.dictionaries, p.y)
        np.testing.assert_allclose(model.coef_, _literal_komp(p.dictionaries, p.y, caps, 1e-2, normalize), atol=1e-8)
        assert model.n_iter_ == model.history_["residual_norm"].size
        np.testing.assert_array_equal(np.flatnonzero(model.coef_), model.support_)
        relative = np.linalg.norm(p.y - model.predict()) / np.linalg.norm(p.y)
        assert relative == pytest.approx(model.history_["residual_norm"][-1], abs=1e-12)


def test_noise_stops_overfitting():
    """In the median: a wrong first index is never taken back, so that means are those of the failures."""
    errors = {"published": [], "noise": []}
    for seed in range(15):
        p = make_kron_sparse((8, 12, 15), (15, 15, 15), (2, 2, 2), snr_db=20, random_state=seed)
        known = KroneckerOMP(noise_variance=p.noise_variance, normalize=True)
        for name, model in (("published", KroneckerOMP()), ("noise", known)):
            errors[name].append(np.linalg.norm(model.fit(p.dictionaries, p.y).coef_ - p.x) / np.linalg.norm(p.x))
    assert np.median(errors["noise"]) < 0.1 * np.median(errors["published"])


def test_zero_and_single_precision():
    p = make_kron_sparse((4, 5), (6, 7), (2, 2), snr_db=20, random_state=0)
    model = KroneckerOMP().fit(p.dictionaries, 0 * p.y)
    assert model.n_iter_ == 0
    assert not model.coef_.any()
    assert model.support_.size == 0
    single = [A.astype(np.float32) for A in p.dictionaries], p.y.astype(np.float32)
    assert KroneckerOMP().fit(*single).coef_.dtype == np.float32
    assert kron_omp_batch(*single, noise_variance=p.noise_variance).coef.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: KroneckerOMP(0).fit(p.dictionaries, p.y), "n_nonzero must be an integer from 1 to"),
        (lambda p: KroneckerOMP((2, 2, 2)).fit(p.dictionaries, p.y), r"one per mode \(2\); got 3"),
        (lambda p: KroneckerOMP((2, 0)).fit(p.dictionaries, p.y), "n_nonzero must be .*each entry an integer from 1"),
        (lambda p: KroneckerOMP(tol=-1.0).fit(p.dictionaries, p.y), "tol must be"),
        (lambda p: KroneckerOMP(noise_variance=0.0).fit(p.dictionaries, p.y), "noise_variance must be"),
        (lambda p: KroneckerOMP().fit(p.dictionaries, p.y[:-1]), "y must have"),
        (lambda p: KroneckerOMP().fit(p.dictionaries, np.ones((20, 2))), "y must be a single vector"),
        (lambda p: kron_omp_batch(p.dictionaries, np.ones((20, 2))), "y must be a single vector"),
        (lambda p: kron_omp_batch(p.dictionaries, p.y, noise_variance=-1.0), "noise_variance must be"),
        (lambda p: kron_omp_batch(p.dictionaries, p.y, n_nonzero=0), "n_nonzero must be"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(make_kron_sparse((4, 5), (6, 7), (2, 2), snr_db=20, random_state=0))
