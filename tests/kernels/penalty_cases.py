"""Random penalties, their definitions and where these have kinks."""

import numpy as np
import pytest

from sparsetheory.numba_kernels.penalties.tags import CAPPED_L1, CEL0, L0, L1, LOG_SUM, LQ, MCP, SCAD

KINDS = {"l1": L1, "l0": L0, "lq": LQ, "cel0": CEL0, "mcp": MCP, "scad": SCAD, "log_sum": LOG_SUM, "capped": CAPPED_L1}
WEAKLY_CONVEX = {"cel0": CEL0, "mcp": MCP, "scad": SCAD, "log_sum": LOG_SUM}
EPS = np.finfo(np.float64).eps

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_weakly_convex_kind = pytest.mark.parametrize("kind", WEAKLY_CONVEX.values(), ids=WEAKLY_CONVEX)


def draw_shape(kind, rng):
    if kind == LQ:
        return rng.choice([0.01, 0.1, 0.3, 0.5, 2 / 3, 0.9, 0.99, rng.uniform(0.02, 0.98)])
    return 10 ** rng.uniform(-1, 1) + (2 if kind == SCAD else 0) if kind not in (L1, L0) else 0.0


def draw(kind, rng):
    """Return u, step, alpha and shape over three orders of magnitude, so that both branches of every operator occur."""
    return (10 ** rng.uniform(-2, 1.3), 10 ** rng.uniform(-2, 1), 10 ** rng.uniform(-2, 1), draw_shape(kind, rng))


def definition(kind, x, alpha, shape):
    v = np.abs(np.asarray(x, dtype=float))
    if kind == L1:
        return alpha * v
    if kind == L0:
        return alpha * (v > 0)
    if kind == LQ:
        return alpha * v**shape
    if kind == CEL0:
        # The square is multiplied out: near zero it would cancel against alpha.
        knee = np.sqrt(2 * alpha) / shape
        return np.where(v <= knee, shape**2 * v * (knee - v / 2), alpha)
    if kind == MCP:
        return np.where(v <= shape * alpha, alpha * v - v**2 / (2 * shape), shape * alpha**2 / 2)
    if kind == SCAD:
        middle = (2 * shape * alpha * v - v**2 - alpha**2) / (2 * (shape - 1))
        return np.where(v <= alpha, alpha * v, np.where(v <= shape * alpha, middle, alpha**2 * (shape + 1) / 2))
    if kind == LOG_SUM:
        return alpha * np.log1p(v / shape)
    return alpha * np.minimum(v, shape)


def kinks(kind, alpha, shape):
    if kind == CEL0:
        return [np.sqrt(2 * alpha) / shape]
    return {MCP: [shape * alpha], SCAD: [alpha, shape * alpha], CAPPED_L1: [shape]}.get(kind, [])
