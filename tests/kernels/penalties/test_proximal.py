"""Thresholding operators against closed forms; brute force is in the laws of penalties."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kernels.penalty_cases import draw

from sparsetheory.numba_kernels.penalties import proximal
from sparsetheory.numba_kernels.penalties.proximal import (
    curvature,
    derivative,
    jump,
    prox,
    subgradient_distance,
    value,
    weak_convexity,
    zero_threshold,
)
from sparsetheory.numba_kernels.penalties.tags import CAPPED_L1, CEL0, L0, LQ, MCP, SCAD


def test_ties_return_zero():
    assert prox(L0, 2.0, 1.0, 2.0, 0.0) == 0.0
    assert prox(LQ, 1.5, 1.0, 1.0, 0.5) == 0.0
    assert prox(CEL0, 1.0, 1.0, 0.5, 1.0) == 0.0
    assert prox(MCP, 2.0, 4.0, 1.0, 1.0) == 0.0
    assert prox(SCAD, 8.0, 16.0, 1.0, 3.0) == 0.0
    assert prox(CAPPED_L1, 4.0, 8.0, 1.0, 1.0) == 0.0


@given(st.floats(0.01, 0.99), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.booleans())
def test_lq_never_returns_small_numbers(q, c, u, closed):
    q = 0.5 if closed else q
    smallest = (2 * c * (1 - q)) ** (1 / (2 - q))
    limit = smallest * (2 - q) / (2 * (1 - q))
    assume(abs(u - limit) > 1e-12 * limit)
    x = prox(LQ, u, 1.0, c, q)
    assert (x == 0) == (u <= limit)
    assert x == 0 or x >= smallest * (1 - 1e-12)
    if x > 0:
        assert x - u + c * q * x ** (q - 1) == pytest.approx(0.0, abs=1e-14 * u)


def test_half_and_two_thirds_agree_with_closed_forms(rng):
    for c in (0.1, 1.0, 30.0):
        v = 1.5 * c ** (2 / 3) * 10 ** rng.uniform(0.001, 8, 200)
        half = 2 / 3 * v * (1 + np.cos(2 / 3 * (np.pi - np.arccos(c / 4 * (v / 3) ** -1.5))))
        assert [prox(LQ, u, 1.0, c, 0.5) for u in v] == pytest.approx(half, rel=2e-14)
        v = 2 * (2 * c / 3) ** 0.75 * 10 ** rng.uniform(0.001, 8, 200)
        scale = 2 / np.sqrt(3) * (2 * c) ** 0.25
        spread = scale * np.sqrt(np.cosh(np.arccosh(27 * v**2 / (16 * (2 * c) ** 1.5)) / 3))
        thirds = ((spread + np.sqrt(2 * v / spread - spread**2)) / 2) ** 3
        # Its square root cancels by up to the cube root of v.
        assert [prox(LQ, u, 1.0, c, 2 / 3) for u in v] == pytest.approx(thirds, rel=1e-13)


def test_known_lq_constants():
    known = {0.1: (1.43825, 1.36255), 0.3: (1.48006, 1.21887), 0.5: (1.5, 1.0), 0.9: (1.27331, 0.23151)}
    for q, (limit, smallest) in known.items():
        assert zero_threshold(LQ, 1.0, 1.0, q) == pytest.approx(limit, abs=1e-5)
        assert jump(LQ, 1.0, 1.0, q) == pytest.approx(smallest, abs=1e-5)


def test_cel0_is_mcp(rng):
    for _ in range(2000):
        u, step, alpha, a = draw(CEL0, rng)
        same = (np.sqrt(2 * alpha) * a, 1 / a**2)
        assert value(CEL0, u, alpha, a) == pytest.approx(value(MCP, u, *same), rel=1e-13)
        distance = abs(u - zero_threshold(CEL0, step, alpha, a))
        # Next to the threshold, or where the slope of the operator explodes, one rounding decides.
        if distance > 1e-12 * u and abs(1 - step * a**2) > 1e-2:
            assert prox(CEL0, u, step, alpha, a) == pytest.approx(prox(MCP, u, step, *same), rel=1e-12, abs=1e-12 * u)


def test_step_that_just_balances_the_bend(rng):
    # One minus step times bend is zero up to rounding, and so is what it divides; a few draws in a thousand show it.
    for a, alpha in zip(10 ** rng.uniform(-1, 1, 20000), rng.uniform(0.1, 10, 20000), strict=True):
        step = 1 / (a * a)
        limit = zero_threshold(CEL0, step, alpha, a)
        after = np.nextafter(limit, np.inf)
        assert 0 <= prox(CEL0, after, step, alpha, a) <= after
        assert prox(CEL0, 0.99 * limit, step, alpha, a) == 0
        assert prox(CEL0, 1.01 * limit, step, alpha, a) == 1.01 * limit


def test_single_precision_is_kept():
    proximal.warmup()
    for function in (prox, value, derivative, curvature, subgradient_distance, zero_threshold, jump, weak_convexity):
        signatures = [s for s in function.nopython_signatures if len(set(s.args[1:])) == 1]
        assert {str(s.args[-1]) for s in signatures} == {"float32", "float64"}
        assert all(s.return_type == s.args[-1] for s in signatures)
