"""Values, derivatives and subgradients of penalties against their definitions."""

import numpy as np
import pytest
from kernels.penalty_cases import EPS, definition, draw, each_kind, each_weakly_convex_kind, kinks

from sparsetheory.numba_kernels.penalties.proximal import (
    curvature,
    derivative,
    subgradient_distance,
    value,
    weak_convexity,
)
from sparsetheory.numba_kernels.penalties.tags import CAPPED_L1, CEL0, L0, L1, LOG_SUM, LQ, MCP, SCAD


@each_kind
def test_values_follow_the_definitions(kind, rng):
    for _ in range(300):
        x, _, alpha, shape = draw(kind, rng)
        assert value(kind, -x, alpha, shape) == pytest.approx(definition(kind, x, alpha, shape), rel=1e-13)
    assert value(kind, 0.0, 2.0, 3.0) == 0.0


def test_cel0_by_its_square(rng):
    for _ in range(300):
        x, _, alpha, a = draw(CEL0, rng)
        square = a**2 / 2 * (x - np.sqrt(2 * alpha) / a) ** 2 * (x <= np.sqrt(2 * alpha) / a)
        assert value(CEL0, x, alpha, a) == pytest.approx(alpha - square, abs=8 * EPS * alpha)


@each_weakly_convex_kind
def test_weak_convexity_is_the_least_bend(kind, rng):
    for _ in range(50):
        _, _, alpha, shape = draw(kind, rng)
        rho = weak_convexity(kind, alpha, shape)
        inside = {CEL0: np.sqrt(2 * alpha) / shape, MCP: shape * alpha, SCAD: shape * alpha, LOG_SUM: shape}[kind]
        x = np.linspace(0.0, 2 * inside, 401)
        bend = np.diff([value(kind, z, alpha, shape) for z in x], 2) / (x[1] - x[0]) ** 2
        assert -rho * (1 + 1e-6) <= bend.min() <= -rho * (0.99 if kind != LOG_SUM else 0.98)


def test_no_bend_is_enough_for_a_jump_or_a_corner():
    assert [weak_convexity(kind, 1.0, 0.5) for kind in (L1, L0, LQ, CAPPED_L1)] == [0.0, np.inf, np.inf, np.inf]


@each_kind
def test_derivatives_against_differences(kind, rng):
    for _ in range(300):
        x, _, alpha, shape = draw(kind, rng)
        h = 1e-5 * x
        if any(abs(x - kink) <= 2 * h for kink in kinks(kind, alpha, shape)):
            continue
        for sign in (-1, 1):
            z = sign * x
            slope = (value(kind, z + h, alpha, shape) - value(kind, z - h, alpha, shape)) / (2 * h)
            rounding = EPS * value(kind, x, alpha, shape) / h
            assert derivative(kind, z, alpha, shape) == pytest.approx(slope, rel=1e-9, abs=4 * rounding)
            bend = (derivative(kind, z + h, alpha, shape) - derivative(kind, z - h, alpha, shape)) / (2 * h)
            # Slopes of parabolas are differences of larger numbers.
            parts = abs(derivative(kind, x, alpha, shape)) + x * max(-curvature(kind, x, alpha, shape), 0.0)
            rounding = EPS * parts / h
            assert curvature(kind, z, alpha, shape) == pytest.approx(bend, rel=1e-9, abs=4 * rounding)


def test_kinks_belong_to_the_outer_side():
    assert (derivative(CAPPED_L1, -2.0, 1.0, 2.0), derivative(CAPPED_L1, -1.9, 1.0, 2.0)) == (0.0, -1.0)
    assert (curvature(MCP, 2.0, 1.0, 2.0), curvature(MCP, 1.9, 1.0, 2.0)) == (0.0, -0.5)
    assert (curvature(CEL0, 0.5, 0.5, 2.0), curvature(CEL0, 0.4, 0.5, 2.0)) == (0.0, -4.0)
    assert [curvature(SCAD, x, 1.0, 3.0) for x in (0.9, 1.0, 2.9, 3.0)] == [0.0, -0.5, -0.5, 0.0]


def test_slopes_at_zero():
    slopes = {L1: 2.0, L0: np.inf, LQ: np.inf, CEL0: 1.0, MCP: 2.0, SCAD: 2.0, LOG_SUM: 4.0, CAPPED_L1: 2.0}
    shapes = {SCAD: 3.0}
    assert {kind: derivative(kind, 0.0, 2.0, shapes.get(kind, 0.5)) for kind in slopes} == slopes


@each_kind
def test_distance_from_critical(kind, rng):
    for _ in range(100):
        x, _, alpha, shape = draw(kind, rng)
        g = 3 * rng.standard_normal()
        slope = derivative(kind, 0.0, alpha, shape)
        assert subgradient_distance(kind, 0.0, g, alpha, shape) == max(abs(g) - slope, 0.0)
        assert subgradient_distance(kind, -x, g, alpha, shape) == abs(g - derivative(kind, x, alpha, shape))


def test_a_concave_corner_has_two_subgradients():
    assert [subgradient_distance(CAPPED_L1, 2.0, g, 1.0, 2.0) for g in (0.2, -0.5, -0.75, -1.5)] == [
        0.2,
        0.5,
        0.25,
        0.5,
    ]
    assert subgradient_distance(CAPPED_L1, -2.0, 0.75, 1.0, 2.0) == 0.25
