"""What every coder returns."""

import numpy as np
import pytest
from coding.coding_references import draw_problem, l0_value, penalties

from sparsetheory.coding import Encoding, cd_l0, criticality, encode, forward_backward, polish, sbr
from sparsetheory.penalties import L0, L1, MCP, Lq

_CODERS = {
    "fss": lambda X, D: encode(X, D, L1(0.1)),
    "cd": lambda X, D: encode(X, D, L0(0.1)),
    "fb": lambda X, D: forward_backward(X, D, MCP(0.1), max_iter=10_000),
    "sbr": lambda X, D: sbr(X, D, alpha=0.1),
    "greedy": lambda X, D: cd_l0(X, D, alpha=0.1),
    "cyclic": lambda X, D: cd_l0(X, D, alpha=0.1, rule="cyclic"),
    "polish": lambda X, D: polish(X, D, np.zeros((6, 20)), alpha=0.1),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", _CODERS)
def test_every_coder_returns_the_same_type(solver, dtype):
    X, A, _ = draw_problem(8, m=12, n=20, n_samples=6, plain=True)
    X, D = X.astype(dtype), np.ascontiguousarray(A.T, dtype)
    found = _CODERS[solver](X, D)
    assert isinstance(found, Encoding)
    assert found.solver == solver
    assert found.codes.shape == (6, 20)
    assert found.codes.dtype == dtype
    assert found.n_iter.shape == found.converged.shape == (6,)
    assert (found.n_iter > 0).all()
    assert found.converged.all()
    np.testing.assert_array_equal(found.signals, X)
    np.testing.assert_array_equal(found.atoms, D)
    loss = 0.5 * np.sum((X - found.codes @ D) ** 2, axis=1)
    values = loss + [found.penalty.value(code) for code in found.codes]
    assert found.objective == pytest.approx(values, rel=1e-4)
    assert (found.step is None) == (solver != "fb")
    assert (found.polished is None) == (solver != "polish")
    assert (found.gap is None) == (solver != "fss")
    np.testing.assert_array_equal(found.residual, criticality(X, D, found.codes, found.penalty))
    again = found.certificate.check(X, D)
    assert again.measured == found.certificate.measured
    assert again.valid == found.certificate.valid


@pytest.mark.parametrize("solver", ["fss", "cd", "sbr", "polish"])
def test_certificates_of_exact_coders_are_valid(solver):
    X, A, _ = draw_problem(8, m=12, n=20, n_samples=6, plain=True)
    found = _CODERS[solver](X, A.T)
    assert found.certificate.valid
    assert not found.certificate.check(X + 0.1, A.T).valid


def test_moves_that_were_made_are_counted_where_the_search_was_cut_off():
    X, A, _ = draw_problem(8, m=12, n=20, n_samples=6, plain=True)
    for coder, options in ((sbr, {}), (cd_l0, {"rule": "greedy"}), (cd_l0, {"rule": "cyclic"})):
        with pytest.warns(UserWarning, match="can still be improved after max_iter=1"):
            found = coder(X, A.T, alpha=1e-3, max_iter=1, **options)
        assert not found.converged.any()
        assert (found.n_iter == 1).all()


def test_history_is_kept_where_asked_for():
    X, A, _ = draw_problem(8, m=12, n=20, n_samples=6, plain=True)
    assert forward_backward(X, A.T, "l1", alpha=0.1, accelerated=True).history is None
    found = forward_backward(X, A.T, "l1", alpha=0.1, accelerated=True, keep_history=True)
    assert found.history.objective[-1] == pytest.approx(found.objective, rel=1e-12)


def test_polishing_says_what_each_stage_gained():
    X, A, _ = draw_problem(8, m=12, n=20, n_samples=6, plain=True)
    plain, better = (encode(X, A.T, "l0", alpha=0.1, polish=polish) for polish in (False, True))
    assert plain.polished is plain.gained is None
    fall = [
        l0_value(x, A, c, 0.1) - l0_value(x, A, d, 0.1) for x, c, d in zip(X, plain.codes, better.codes, strict=True)
    ]
    assert better.gained == pytest.approx(fall, abs=1e-12)
    assert better.polished.gained.shape == (3, 6)


@pytest.mark.parametrize("coder", [encode, forward_backward])
@pytest.mark.parametrize(
    ("name", "numbers", "penalty"),
    [
        ("l1", {}, L1(0.2)),
        ("mcp", {"gamma": 2.0}, MCP(0.2, gamma=2.0)),
        ("lq", {"q": 0.5}, Lq(0.2, q=0.5)),
        (L1(9.0), {}, L1(0.2)),
    ],
)
def test_penalties_by_name_are_the_objects(coder, name, numbers, penalty):
    X, A, _ = draw_problem(8, m=12, n=20, n_samples=6, plain=True)
    named = coder(X, A.T, name, alpha=0.2, max_iter=20_000, **numbers)
    given = coder(X, A.T, penalty, max_iter=20_000)
    assert named.penalty == given.penalty == penalty
    np.testing.assert_array_equal(named.codes, given.codes)
    residual = criticality(X, A.T, named.codes, name, alpha=0.2, **numbers)
    np.testing.assert_array_equal(residual, criticality(X, A.T, named.codes, penalty))


def test_atoms_are_rows_in_any_layout():
    X, A, _ = draw_problem(8, m=12, n=20, n_samples=6, plain=True)
    for penalty in penalties(0.2, A):
        expected = encode(X, A.T, penalty).codes
        for D in (np.ascontiguousarray(A.T), A.T.tolist(), np.repeat(A.T, 2, axis=0)[::2]):
            np.testing.assert_array_equal(encode(X, D, penalty).codes, expected)
