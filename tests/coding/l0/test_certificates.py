"""Certificates of codes with a price per atom, and what spoils them."""

from dataclasses import replace

import numpy as np
import pytest
from coding.coding_references import draw_problem

from sparsetheory.coding import CodeCertificate, L0CodeCertificate, cd_l0, encode, sbr
from sparsetheory.penalties import L0, L1


@pytest.fixture(scope="module")
def problem():
    X, A, _ = draw_problem(5, m=12, n=20, n_samples=6, plain=True)
    return X, A, sbr(X, A.T, alpha=0.05).codes


def test_right_codes_are_valid(problem):
    X, A, C = problem
    certificate = L0CodeCertificate.of(X, A.T, C, alpha=0.05)
    assert certificate.valid
    assert certificate.stable.all()
    assert certificate.check(X.tolist(), np.asfortranarray(A).T).valid
    assert certificate.bound == pytest.approx(0.5e-6 * np.sum(X**2, axis=1).max(), rel=1e-14)
    assert CodeCertificate.of(X, A.T, cd_l0(X, A.T, alpha=0.05).codes, L0(0.05), tol=1e-5).valid


def test_corruptions_are_not_valid(problem):
    X, A, C = problem
    good = L0CodeCertificate.of(X, A.T, C, alpha=0.05)
    row, column = np.argwhere(C)[0]
    moved, dropped, more = C.copy(), C.copy(), C.copy()
    moved[row, column] += 0.01
    dropped[row, column] = 0.0
    more[row, np.flatnonzero(C[row] == 0)[0]] = 0.01
    for codes in (moved, dropped, more, 0 * C, C[::-1], np.full_like(C, np.nan)):
        assert not replace(good, codes=codes).check(X, A.T).valid
    for fields in ({"bound": good.bound / 10}, {"bound": good.bound * 2}, {"alpha": 0.06}, {"tol": 1e-7}):
        assert not replace(good, **fields).check(X, A.T).valid
    for other in ((X + 0.1, A.T), (2 * X, A.T), (X, A[:, ::-1].T)):
        assert not good.check(*other).valid
    with pytest.raises(ValueError, match="X must have one row per code and D one row per entry"):
        good.check(X[:2], A.T)
    with pytest.raises(ValueError, match="D must be the atoms"):
        good.check(X)


def test_codes_of_the_encoder_come_with_a_certificate(problem):
    X, A, _ = problem
    for penalty in (L0(0.05), L1(0.2)):
        certificate = encode(X, A.T, penalty).certificate
        assert certificate.valid
        assert not certificate.check(X + 0.1, A.T).valid
