"""Derivatives and curvatures against differences, and what is told at kinks; values are in the laws of penalties."""

import numpy as np
import pytest
from kernels.penalty_cases import EPS, draw, each_kind, kinks

from sparsetheory.numba_kernels.penalties.proximal import (
    curvature,
    derivative,
    subgradient_distance,
    value,
)
from sparsetheory.numba_kernels.penalties.tags import CAPPED_L1, CEL0, L0, L1, LOG_SUM, LQ, MCP, SCAD


def test_cel0_by_its_square(rng):
    for _ in range(300):
        x, _, alpha, a = draw(CEL0, rng)
        square = a**2 / 2 * (x - np.sqrt(2 * alpha) / a) ** 2 * (x <= np.sqrt(2 * alpha) / a)
        assert value(CEL0, x, alpha, a) == pytest.approx(alpha - square, abs=8 * EPS * alpha)


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
            parts = abs(derivative(kind, x, alpha, shape)) + x * abs(curvature(kind, x, alpha, shape))
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


def test_a_concave_corner_has_two_subgradients():
    assert [subgradient_distance(CAPPED_L1, 2.0, g, 1.0, 2.0) for g in (0.2, -0.5, -0.75, -1.5)] == [
        0.2,
        0.5,
        0.25,
        0.5,
    ]
    assert subgradient_distance(CAPPED_L1, -2.0, 0.75, 1.0, 2.0) == 0.25
