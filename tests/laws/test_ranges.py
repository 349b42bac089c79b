"""Numbers whose squares leave the range of their type are handled or refused by name; nothing runs for ever."""

import signal

import numpy as np
import pytest
from estimator_cases import CASES, FLAT

EXTREME = [1e200, 1e155, 1e-155, 1e-165, 1e-200, 1e-310]


@pytest.fixture(autouse=True)
def _no_endless_loops():
    def stop(*_):
        raise AssertionError("this fit does not end")

    # Time of the processor, which a busy machine does not stretch; the first fit of a line compiles its kernels.
    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, 120)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, previous)


@pytest.fixture(scope="module")
def reference():
    cache = {}

    def fit(case):
        if case.name not in cache:
            cache[case.name] = case.solution(case.fit()[0], 1.0, None)
        return cache[case.name]

    return fit


def _handled_or_refused(case, names, fit, wanted, c, D):
    message = ""
    try:
        model = fit()
    except ValueError as error:
        message = str(error)
    if message:
        assert any(name in message for name in names), f"the error names none of {names}: {message}"
        return
    found = case.solution(model, c, D)
    assert np.linalg.norm(found - wanted) <= 10 * case.rtol * np.linalg.norm(wanted)


@pytest.mark.parametrize("c", EXTREME)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_extreme_responses(case, c, reference):
    names = ("alpha", "noise", "sigma", case.names[1] or case.names[0])
    with np.errstate(over="ignore", under="ignore"):
        _handled_or_refused(case, names, lambda: case.fit(c)[0], reference(case), c, None)


@pytest.mark.parametrize("scale", EXTREME)
@pytest.mark.parametrize("case", [c for c in FLAT.values() if c.features], ids=lambda c: c.name)
def test_one_extreme_column(case, scale, reference):
    _, (X, _) = case.build(1.0, None)
    D = np.ones(X.shape[1])
    D[4] = scale
    with np.errstate(over="ignore", under="ignore"):
        _handled_or_refused(case, (case.names[0], "weights"), lambda: case.fit(1.0, D)[0], reference(case), 1.0, D)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("case", FLAT.values(), ids=FLAT)
def test_data_that_are_not_finite(case, which, bad):
    model, data = case.build(1.0, None)
    broken = [np.array(a) for a in data]
    broken[which].flat[3] = bad
    with pytest.raises(ValueError, match=case.names[which]):
        model.fit(*broken)
    fitted, _ = case.fit()
    with pytest.raises(ValueError, match=case.names[which]):
        fitted.certificate_.check(*broken)


# Messages of turbo compressed sensing may oscillate on such data, which it says.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("case", FLAT.values(), ids=FLAT)
def test_degenerate_data_end(case):
    # Zero response, constant columns, repeated columns: whatever comes out is finite.
    for change in ("zero", "constant", "copies"):
        model, (X, y) = case.build(1.0, None)
        X = X.copy()
        if change == "zero":
            y = np.zeros_like(y)
        elif change == "constant":
            X[:, ::2] = 1.0
        else:
            X[:, 1::2] = X[:, ::2]
        try:
            with np.errstate(all="ignore"):
                model.fit(X, y)
        except ValueError:
            continue
        assert np.isfinite(model.coef_).all()
