"""Spectral norms that are never too small, and limits of steps that are sharp."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.proximal_gradient.step_sizes import choose_step, squared_spectral_norm, step_limit
from sparsetheory.penalties import CEL0, L0, L1, MCP, SCAD, LogSum, Lq


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 30), st.sampled_from([np.float32, np.float64]))
def test_spectral_norm_is_an_upper_bound_and_tight(seed, m, n, dtype):
    A = np.random.default_rng(seed).standard_normal((m, n)).astype(dtype)
    exact = np.linalg.svd(A.astype(np.longdouble).astype(float), compute_uv=False)[0] ** 2
    found = squared_spectral_norm(A)
    # The singular values of the reference err by (m + n) roundings too.
    slack = 2 * (m + n) * np.finfo(float).eps
    assert exact * (1 - slack) <= found <= exact * (1 + 2 * slack)
    assert found >= np.max(np.sum(A.astype(float) ** 2, axis=0)) * (1 - slack)


def test_spectral_norms_of_simple_matrices():
    assert squared_spectral_norm(np.eye(3)) == pytest.approx(1.0, rel=1e-14)
    assert squared_spectral_norm(np.zeros((2, 5))) == 0.0
    assert squared_spectral_norm(np.zeros((0, 5))) == 0.0


def test_limits():
    assert step_limit(4.0, L1(1.0)) == 0.5
    assert step_limit(4.0, CEL0(1.0, [1.0, 0.5])) == 0.4
    assert step_limit(4.0, MCP(1.0, 0.5)) == 2 / 6
    assert step_limit(4.0, SCAD(1.0, 3.0)) == 2 / 4.5
    assert step_limit(4.0, LogSum(1.0, 0.5)) == 0.25
    for penalty in (L0(1.0), Lq(1.0, 0.5), MCP(1.0, 0.01)):
        assert step_limit(4.0, penalty) == 0.25


def _largest_rise(penalty, share):
    """Take one step from many codes of one unit atom for the signal 1; return the worst change of the objective."""
    step, worst = share * step_limit(1.0, penalty), -np.inf
    for c in np.linspace(-1.0, 4.0, 2001):
        new = penalty.prox(c + step * (1.0 - c), step)
        before, after = (0.5 * (1.0 - z) ** 2 + penalty.value(z) for z in (c, new))
        worst = max(worst, after - before)
    return worst


@pytest.mark.parametrize(
    "penalty", [L1(0.01), CEL0(0.3), MCP(0.3, 4.0), MCP(0.3, 0.5), L0(0.49), Lq(0.4, 0.3)], ids=repr
)
def test_no_step_below_the_limit_increases_the_objective(penalty):
    assert max(_largest_rise(penalty, share) for share in (0.1, 0.5, 0.999)) <= 1e-15


@pytest.mark.parametrize("penalty", [L1(0.01), L0(0.49)], ids=repr)
def test_a_step_beyond_the_limit_can(penalty):
    assert _largest_rise(penalty, 1.05) > 1e-3


def test_choices():
    assert choose_step("auto", 4.0, L1(1.0), accelerated=False, check=True, only_warn=False) == 0.99 * 0.5
    assert choose_step("auto", 4.0, L1(1.0), accelerated=True, check=True, only_warn=False) == 0.25
    assert choose_step("auto", 4.0, L0(1.0), accelerated=True, check=True, only_warn=False) == 0.99 * 0.25
    # A step of 1/L is fine although L was computed otherwise.
    assert choose_step(0.25 * (1 + 1e-12), 4.0, L1(1.0), accelerated=True, check=True, only_warn=False) > 0.25
    assert choose_step(7, 4.0, L0(1.0), accelerated=False, check=False, only_warn=False) == 7.0
    with pytest.raises(ValueError, match=r"step must be below 0.25, or the objective may increase; got 0.25 \(check"):
        choose_step(0.25, 4.0, L0(1.0), accelerated=False, check=True, only_warn=False)
    with pytest.warns(RuntimeWarning, match="step must be below 0.25"):
        assert choose_step(0.3, 4.0, L0(1.0), accelerated=False, check=True, only_warn=True) == 0.3
