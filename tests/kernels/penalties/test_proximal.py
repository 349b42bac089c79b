"""Thresholding operators against brute force and closed forms."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kernels.penalty_cases import (
    EPS,
    KINDS,
    WEAKLY_CONVEX,
    definition,
    draw,
    each_kind,
    each_weakly_convex_kind,
)
from scipy.optimize import minimize_scalar

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


def _excess(kind, u, step, alpha, shape, x):
    """Return how much better brute force does than x, relative to the objective at zero."""

    def objective(z):
        return 0.5 * (z - u) ** 2 + step * definition(kind, z, alpha, shape)

    grid = np.linspace(0.0, u, 20001)
    best = grid[np.argmin(objective(grid))]
    near = np.linspace(max(best - u / 2e4, 0.0), min(best + u / 2e4, u), 1001)
    return (objective(x) - min(objective(grid).min(), objective(near).min())) / (u * u / 2)


@each_kind
def test_no_point_of_a_grid_is_better(kind, rng):
    draws = [draw(kind, rng) for _ in range(150)]
    # Close to a jump two minima compete.
    for _, step, alpha, shape in draws[:50]:
        draws.append(
            (zero_threshold(kind, step, alpha, shape) * (1 + 1e-3 * rng.standard_normal()), step, alpha, shape)
        )
    assert max(_excess(kind, *case, prox(kind, *case)) for case in draws) <= 1e-12


@each_weakly_convex_kind
def test_draws_reach_both_branches(kind, rng):
    draws = [draw(kind, rng) for _ in range(150)]
    convex = [step * weak_convexity(kind, alpha, shape) < 1 for _, step, alpha, shape in draws]
    assert 20 <= sum(convex) <= 130


@each_kind
def test_threshold_is_where_zero_stops_being_best(kind, rng):
    for _ in range(100):
        _, step, alpha, shape = draw(kind, rng)

        def cost(log_x, step=step, alpha=alpha, shape=shape):
            x = np.exp(log_x)
            return x / 2 + step * value(kind, x, alpha, shape) / x

        grid = np.linspace(np.log(1e-12), np.log(1e4), 1001)
        k = np.argmin([cost(t) for t in grid])
        found = minimize_scalar(cost, bounds=(grid[max(k - 1, 0)], grid[min(k + 1, 1000)]), options={"xatol": 1e-10})
        limit, size = zero_threshold(kind, step, alpha, shape), jump(kind, step, alpha, shape)
        assert limit == pytest.approx(min(found.fun, cost(grid[0])), rel=1e-9)
        # Where the operator is continuous, the infimum lies at zero itself.
        assert size == pytest.approx(np.exp(found.x), rel=1e-4) if size > 0 else k == 0


@each_kind
def test_threshold_is_the_last_number_mapped_to_zero(kind, rng):
    for _ in range(200):
        _, step, alpha, shape = draw(kind, rng)
        limit, size = zero_threshold(kind, step, alpha, shape), jump(kind, step, alpha, shape)
        assert prox(kind, limit, step, alpha, shape) == prox(kind, -limit, step, alpha, shape) == 0.0
        after = prox(kind, limit * (1 + 8 * EPS), step, alpha, shape)
        assert after > 0
        assert after == pytest.approx(size, rel=1e-7, abs=1e-6 * limit)


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


@each_weakly_convex_kind
def test_operator_is_lipschitz_while_the_objective_is_convex(kind, rng):
    attained = 0.0
    for _ in range(60):
        _, _, alpha, shape = draw(kind, rng)
        step = rng.uniform(0.05, 0.95) / weak_convexity(kind, alpha, shape)
        bound = 1 / (1 - step * weak_convexity(kind, alpha, shape))
        u = np.linspace(0.0, 3 * zero_threshold(kind, step, alpha, shape), 2001)
        slopes = np.diff([prox(kind, v, step, alpha, shape) for v in u]) / np.diff(u)
        assert slopes.max() <= bound * (1 + 1e-9)
        attained = max(attained, slopes.max() / bound)
    assert attained >= 0.99


@given(st.sampled_from(list(KINDS.values())), st.integers(0, 10**6), st.floats(1e-12, 10.0))
def test_operators_are_odd_shrink_and_do_not_decrease(kind, seed, relative):
    u, *numbers = draw(kind, np.random.default_rng(seed))
    x = prox(kind, u, *numbers)
    assert prox(kind, -u, *numbers) == -x
    assert 0 <= x <= u
    assert prox(kind, u * (1 + relative), *numbers) >= x * (1 - 4 * EPS)


@each_kind
def test_thresholded_numbers_are_critical(kind, rng):
    for _ in range(300):
        u, step, alpha, shape = draw(kind, rng)
        if kind in WEAKLY_CONVEX.values() and abs(1 - step * weak_convexity(kind, alpha, shape)) < 1e-2:
            continue
        x = prox(kind, u, step, alpha, shape)
        assert subgradient_distance(kind, x, (x - u) / step, alpha, shape) <= 1e-12 * u / step


@each_kind
def test_no_strength_means_no_penalty(kind):
    shape = 2.5 if kind != LQ else 0.5
    for u in (-3.7, 0.0, 1e-300, 0.1, 1e300):
        assert prox(kind, u, 0.3, 0.0, shape) == u
    assert zero_threshold(kind, 1.0, 0.0, shape) == jump(kind, 1.0, 0.0, shape) == weak_convexity(kind, 0.0, shape) == 0
    for x in (0.0, 1.0):
        assert value(kind, x, 0.0, shape) == derivative(kind, x, 0.0, shape) == 0.0
        assert subgradient_distance(kind, x, -2.0, 0.0, shape) == 2.0
    assert curvature(kind, 1.0, 0.0, shape) == 0.0


@each_kind
def test_infinity_and_not_a_number_pass_through(kind):
    shape = 2.5 if kind != LQ else 0.3
    for alpha in (0.0, 1.0, 100.0):
        assert prox(kind, np.inf, 1.0, alpha, shape) == np.inf
        assert prox(kind, -np.inf, 1.0, alpha, shape) == -np.inf
        assert np.isnan(prox(kind, np.nan, 1.0, alpha, shape))


@each_kind
def test_single_precision_is_kept(kind, rng):
    real = np.float32
    proximal.warmup()
    for function in (prox, value, derivative, curvature, subgradient_distance, zero_threshold, jump, weak_convexity):
        signatures = [s for s in function.nopython_signatures if len(set(s.args[1:])) == 1]
        assert {str(s.args[-1]) for s in signatures} == {"float32", "float64"}
        assert all(s.return_type == s.args[-1] for s in signatures)
    worst = 0.0
    for _ in range(300):
        case = tuple(float(real(number)) for number in draw(kind, rng))
        x = prox(kind, *map(real, case))
        worst = max(worst, _excess(kind, *case, float(x)))
    # Near a jump the threshold may be some roundings off, and the objective then as many times eps u^2.
    assert worst <= 16 * np.finfo(real).eps
