"""One row per family of penalties: all that the laws need to know about it.

The laws are in ``test_laws.py``; the tests of kernels and solvers draw from the same rows. A new family needs a row
here and no test of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from sparsetheory.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, ElasticNet, LogSum, Lq, Penalty

EPS = np.finfo(np.float64).eps


def _no_kinks(alpha: float, shape: float) -> list[float]:
    return []


@dataclass(frozen=True)
class Row:
    """A family.

    Attributes
    ----------
    name, family : str, type
        As users call it.
    shapes : callable
        Draws the number beside alpha from a generator; None if there is none.
    definition : callable
        Penalty of sizes v, from the literature.
    units : callable
        Numbers for another unit: the penalty of c v there is c^2 times that of v.
    kinks : callable
        Where the derivative or the curvature jumps, apart from zero.
    convex, weakly_convex : bool
        Whether it is, and whether it is once a multiple of the square is added.
    """

    name: str
    family: type[Penalty]
    definition: Callable[[Any, float, float], Any]
    units: Callable[[float, float, float], tuple[float, float]]
    shapes: Callable[[np.random.Generator], float] | None = None
    kinks: Callable[[float, float], list[float]] = _no_kinks
    convex: bool = False
    weakly_convex: bool = False

    @property
    def shape_name(self) -> str:
        """Name of the number beside alpha; empty if there is none."""
        return self.family._name

    def make(self, alpha: float, shape: float, *, positive: bool = False) -> Penalty:
        """Return the penalty with these numbers."""
        return self.family(alpha, **({self.shape_name: shape} if self.shapes else {}), positive=positive)

    def draw_shape(self, rng: np.random.Generator) -> float:
        """Draw the number beside alpha, 0.0 if there is none."""
        return float(self.shapes(rng)) if self.shapes else 0.0

    def draw(self, rng: np.random.Generator) -> tuple[float, float, float, float]:
        """Return u, step, alpha and shape over three orders of magnitude, so that all branches of operators occur."""
        return 10 ** rng.uniform(-2, 1.3), 10 ** rng.uniform(-2, 1), 10 ** rng.uniform(-2, 1), self.draw_shape(rng)


def _decades(rng: np.random.Generator) -> float:
    return 10 ** rng.uniform(-1, 1)


def _powers(rng: np.random.Generator) -> float:
    return rng.choice([0.01, 0.1, 0.3, 0.5, 2 / 3, 0.9, 0.99, rng.uniform(0.02, 0.98)])


def _cel0(v: Any, alpha: float, a: float) -> Any:
    # The square is multiplied out: near zero it would cancel against alpha.
    knee = np.sqrt(2 * alpha) / a
    return np.where(v <= knee, a**2 * v * (knee - v / 2), alpha)


def _scad(v: Any, alpha: float, a: float) -> Any:
    middle = (2 * a * alpha * v - v**2 - alpha**2) / (2 * (a - 1))
    return np.where(v <= alpha, alpha * v, np.where(v <= a * alpha, middle, alpha**2 * (a + 1) / 2))


TABLE = (
    Row(
        "l1",
        L1,
        definition=lambda v, alpha, _: alpha * v,
        units=lambda alpha, _, c: (c * alpha, 0.0),
        convex=True,
        weakly_convex=True,
    ),
    Row(
        "elastic_net",
        ElasticNet,
        shapes=lambda rng: rng.choice([1.0, 0.999, rng.uniform(0.01, 1)]),
        definition=lambda v, alpha, ratio: alpha * (ratio * v + (1 - ratio) * v**2 / 2),
        units=lambda alpha, ratio, c: (alpha * (1 + (c - 1) * ratio), c * ratio / (1 + (c - 1) * ratio)),
        convex=True,
        weakly_convex=True,
    ),
    Row(
        "l0",
        L0,
        definition=lambda v, alpha, _: alpha * (v > 0),
        units=lambda alpha, _, c: (c**2 * alpha, 0.0),
    ),
    Row(
        "lq",
        Lq,
        shapes=_powers,
        definition=lambda v, alpha, q: alpha * v**q,
        units=lambda alpha, q, c: (c ** (2 - q) * alpha, q),
    ),
    Row(
        "cel0",
        CEL0,
        shapes=_decades,
        definition=_cel0,
        units=lambda alpha, a, c: (c**2 * alpha, a),
        kinks=lambda alpha, a: [np.sqrt(2 * alpha) / a],
        weakly_convex=True,
    ),
    Row(
        "mcp",
        MCP,
        shapes=_decades,
        definition=lambda v, alpha, gamma: np.where(
            v <= gamma * alpha, alpha * v - v**2 / (2 * gamma), gamma * alpha**2 / 2
        ),
        units=lambda alpha, gamma, c: (c * alpha, gamma),
        kinks=lambda alpha, gamma: [gamma * alpha],
        weakly_convex=True,
    ),
    Row(
        "scad",
        SCAD,
        shapes=lambda rng: 2 + _decades(rng),
        definition=_scad,
        units=lambda alpha, a, c: (c * alpha, a),
        kinks=lambda alpha, a: [alpha, a * alpha],
        weakly_convex=True,
    ),
    Row(
        "log_sum",
        LogSum,
        shapes=_decades,
        definition=lambda v, alpha, eps: alpha * np.log1p(v / eps),
        units=lambda alpha, eps, c: (c**2 * alpha, c * eps),
        weakly_convex=True,
    ),
    Row(
        "capped_l1",
        CappedL1,
        shapes=_decades,
        definition=lambda v, alpha, theta: alpha * np.minimum(v, theta),
        units=lambda alpha, theta, c: (c * alpha, c * theta),
        kinks=lambda alpha, theta: [theta],
    ),
)

each_row = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
each_sign = pytest.mark.parametrize("positive", [False, True], ids=["free", "positive"])
# One penalty of each family and sign, at numbers of everyday use.
EXAMPLES = tuple(
    row.make(0.3, {"elastic_net": 0.7, "lq": 0.5, "scad": 3.7}.get(row.name, 0.8), positive=positive)
    for row in TABLE
    for positive in (False, True)
)
each_example = pytest.mark.parametrize("penalty", EXAMPLES, ids=repr)
