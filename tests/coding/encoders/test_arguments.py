"""What the encoder accepts, keeps, announces and refuses."""

import tracemalloc

import numpy as np
import pytest
from coding.coding_references import (
    BAD_ARRAYS,
    draw_problem,
    good_arguments,
    penalties,
    refuses,
)
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding.encoders.encode import encode
from sparsetheory.penalties import CEL0, L0, L1, MCP, Lq


@pytest.mark.parametrize("family", range(10))
def test_rows_threads_gram_and_warm_starts(rng, family):
    X, A, _ = draw_problem(5, m=16, n=64, n_samples=2500, plain=True)
    penalty = penalties(0.2, A)[family]
    found = encode(X, A.T, penalty)
    C = found.codes
    np.testing.assert_array_equal(encode(X, A.T, penalty, n_jobs=2).codes, C)
    np.testing.assert_array_equal(
        encode(X, A.T, penalty, n_jobs=3, init=C).codes, encode(X, A.T, penalty, init=C).codes
    )
    values = encode(X, A.T, penalty, gram=np.asfortranarray(A.T @ A)).objective
    assert values == pytest.approx(found.objective, rel=1e-5)
    some = rng.choice(2500, 40, replace=False)
    alone = np.vstack([encode(X[i : i + 1], A.T, penalty).codes for i in some])
    np.testing.assert_allclose(alone, C[some], atol=1e-7)
    again = encode(X, A.T, penalty, init=C)
    assert (again.objective <= found.objective * (1 + 1e-9)).all()
    assert (again.n_iter <= 2).all()


@pytest.mark.parametrize("solver", ["fss", "cd", "fb"])
def test_layouts_are_accepted_and_inputs_kept(solver):
    X, A, _ = draw_problem(6, m=8, n=12, n_samples=5)
    arrays = (X, np.ascontiguousarray(A.T), np.ones((5, 12)), A.T @ A)
    copies = [array.copy() for array in arrays]

    def run(X, D, init, gram):
        return encode(X, D, L1(0.3), solver=solver, init=init, gram=gram, max_iter=20_000).codes

    C = run(*arrays)
    for array in arrays:
        array.flags.writeable = False
    for layout in (np.asarray, np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], np.ndarray.tolist):
        np.testing.assert_array_equal(run(*map(layout, arrays)), C)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert encode([[3, 0]], np.eye(2, dtype=int), L1(1), solver=solver).codes.round(4).tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize("solver", ["fss", "cd", "fb", "sbr", "greedy"])
def test_no_signals_and_given_results(tmp_path, solver):
    X, A, _ = draw_problem(6, m=8, n=12, n_samples=200)
    penalty = L0(0.1) if solver in ("sbr", "greedy") else L1(0.3)
    C = encode(X, A.T, penalty, solver=solver, max_iter=20_000).codes
    found = encode(X[:0], A.T, penalty, solver=solver)
    empty = found.codes
    assert empty.shape == (0, 12)
    assert found.converged.shape == found.objective.shape == found.residual.shape == (0,)
    out = np.lib.format.open_memmap(tmp_path / "codes.npy", mode="w+", dtype=np.float64, shape=(200, 12))
    assert encode(X, A.T, penalty, solver=solver, out=out, max_iter=20_000).codes is out
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), C)
    # The guesses may be written over.
    expected = encode(X, A.T, penalty, solver=solver, init=C, max_iter=20_000).codes
    np.testing.assert_array_equal(
        encode(X, A.T, penalty, solver=solver, init=out, out=out, max_iter=20_000).codes, expected
    )


@pytest.mark.parametrize("solver", ["fss", "cd"])
def test_memory_beside_the_codes_is_constant(rng, solver):
    X, A = rng.standard_normal((20_000, 32)), rng.standard_normal((32, 64))
    encode(X[:10], A.T, L1(3.0), solver=solver)
    tracemalloc.start()
    C = encode(X, A.T, L1(3.0), solver=solver).codes
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert C.nbytes > 10**7
    assert peak - C.nbytes < 2 * 10**6


@pytest.mark.parametrize("solver", ["fss", "cd"])
def test_unconverged_codes_are_counted(solver):
    X, A, _ = draw_problem(9, m=10, n=30, n_samples=5, plain=True)
    X[2:] = 0.0
    with pytest.warns(ConvergenceWarning, match="2 of 5 codes did not reach tol=1e-06 within max_iter=1 passes"):
        found = encode(X, A.T, L1(1e-3), solver=solver, max_iter=1)
    assert found.converged.tolist() == [False, False, True, True, True]
    assert found.n_iter.tolist() == [1, 1, 0, 0, 0]


# Without a weight the tolerance is zero, and rounding may keep codes from it.
@pytest.mark.filterwarnings("ignore:.* codes did not reach:sklearn.exceptions.ConvergenceWarning")
def test_codes_that_are_not_unique_are_announced():
    X, A, _ = draw_problem(9, m=4, n=6, plain=True)
    with pytest.warns(ConvergenceWarning, match="alpha=0: with more atoms than features codes are not unique"):
        C = encode(X, A.T, L1(0.0)).codes
    np.testing.assert_allclose(C @ A.T, X, atol=1e-6)
    X, A, _ = draw_problem(9, m=6, n=4, plain=True)
    for penalty in (L1(0.0), MCP(0.0), L0(0.0), Lq(0.0, 0.5)):
        np.testing.assert_allclose(encode(X, A.T, penalty).codes, np.linalg.lstsq(A, X.T)[0].T, atol=1e-4)


def test_single_precision_tolerance_is_raised_with_a_warning():
    X, A, _ = draw_problem(1, plain=True)
    with pytest.warns(RuntimeWarning, match=r"tol=1e-08.* 1e-06 is used"):
        encode(X.astype(np.float32), A.astype(np.float32).T, L1(0.3), tol=1e-8)


@pytest.mark.parametrize("solver", ["fss", "cd", "fb"])
def test_byte_orders(solver):
    X, A, _ = draw_problem(6, m=8, n=12, n_samples=5)
    C = encode(X, A.T, L1(0.3), solver=solver, max_iter=20_000).codes
    swapped = (array.astype(">f8") for array in (X, A.T))
    np.testing.assert_array_equal(encode(*swapped, L1(0.3), solver=solver, max_iter=20_000).codes, C)


@pytest.mark.parametrize("power", [-150, 150])
@pytest.mark.parametrize(("solver", "family"), [("fss", L1), ("cd", L0), ("sbr", L0), ("greedy", L0), ("fb", L1)])
def test_huge_and_tiny_signals(power, solver, family):
    X, A, _ = draw_problem(6, m=8, n=12, n_samples=5, plain=True)
    scale = 10.0**power
    C = encode(X, A.T, family(0.3), solver=solver, max_iter=20_000).codes
    alpha = 0.3 * scale ** (1 if family is L1 else 2)
    found = encode(scale * X, A.T, family(alpha), solver=solver, max_iter=20_000)
    codes = found.codes
    np.testing.assert_allclose(codes / scale, C, atol=1e-5)
    assert (found.residual <= 1e-5 * scale).all()


@pytest.mark.parametrize("scale", [0.0, 1e-25])
@pytest.mark.parametrize("family", range(10))
def test_warm_starts_of_signals_of_nothing(family, scale):
    # The guess is in the null space but for rounding, where codes of nonconvex penalties may stay.
    X, A, _ = draw_problem(1, m=5, n=12, n_samples=3, plain=True)
    warm = np.linalg.svd(A)[2][-3:] * 5
    found = encode(scale * X, A.T, penalties(0.1, A)[family], solver="cd", init=warm, max_iter=50)
    assert found.converged.all()
    assert (found.residual <= 1e-12).all()


def test_results_do_not_share_memory_with_the_problem():
    X, A = np.eye(4), np.eye(4)
    for name, out in (("X", X), ("D", A)):
        with pytest.raises(ValueError, match=f"out must not share memory with {name}"):
            encode(X, A.T, L1(0.3), out=out)


@refuses(
    [
        *BAD_ARRAYS,
        ({"penalty": 1}, TypeError, "penalty must be a Penalty or the name of one; got 1"),
        ({"penalty": "l1"}, TypeError, "penalty 'l1' needs alpha, its strength"),
        ({"penalty": "l2", "alpha": 0.1}, ValueError, "penalty must be one of 'l1', .*'l2'"),
        ({"penalty": "mcp", "alpha": 0.1, "q": 0.5}, TypeError, "takes gamma beside alpha, got q"),
        ({"gamma": 2.0}, TypeError, r"gamma must go with the name of a penalty; penalty is L1\(alpha=0.1\)"),
        ({"penalty": CEL0(1.0, [1.0, 2.0])}, ValueError, "penalty must have one number per atom, 5; it has 2"),
        ({"solver": "lars"}, ValueError, "solver must be one of 'auto', 'fss', .*; got 'lars'"),
        ({"solver": None}, ValueError, "solver must be one of .*; got None"),
        ({"solver": "fss", "penalty": MCP(0.1)}, ValueError, r"solver 'fss' is for l1; got MCP\(alpha=0.1"),
        ({"solver": "sbr"}, ValueError, r"solver 'sbr' is for l0 and CEL0; got L1\(alpha=0.1"),
        ({"solver": "greedy", "penalty": Lq(0.1, 0.5)}, ValueError, "solver 'greedy' is for l0 and CEL0; got Lq"),
        ({"polish": True}, ValueError, "polish is for l0 and CEL0; got L1"),
        ({"tol": -1.0}, ValueError, "tol must be a finite .* number; got -1.0"),
        ({"tol": np.nan}, ValueError, "tol must be a finite .* number; got nan"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be None or an integer other than 0, up to a million; got 0"),
        ({"gram": np.eye(5)[::-1]}, ValueError, "gram must be D @ D.T"),
        ({"X": [[1e160, 0, 0]]}, ValueError, "X must not hold numbers of which squares leave the range of float64"),
        ({"D": np.full((5, 3), 1e-160)}, ValueError, r"squares vanish in float64: entries of column 0 of D\.T"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer from 1 to .*; got 0"),
        ({"max_iter": 1.5}, (ValueError, TypeError), "max_iter must be an integer from 1 to .*; got 1.5"),
        ({"init": np.ones((2, 4))}, ValueError, r"init must have one row per signal .* got \(2, 4\)"),
        ({"init": np.full((2, 5), np.nan)}, ValueError, "init must be finite"),
        ({"gram": np.eye(4)}, ValueError, r"gram must be D @ D.T, of shape \(5, 5\); got shape \(4, 4\)"),
        ({"gram": np.eye(5)}, ValueError, "gram must be D @ D.T; its diagonal"),
        ({"out": np.empty((2, 4))}, ValueError, r"out must be an array of shape \(2, 5\) and dtype float64"),
        ({"out": np.empty((2, 5), np.float32)}, ValueError, "out must be an array of shape .* and dtype float64"),
        ({"out": [[0.0] * 5] * 2}, ValueError, "out must be an array"),
        ({"out": np.empty((5, 2)).T}, ValueError, "out must be C-ordered and writable"),
        ({"out": np.broadcast_to(0.0, (2, 5))}, ValueError, "out must be C-ordered and writable"),
    ]
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        encode(**(good_arguments(penalty=L1(0.1)) | arguments))
