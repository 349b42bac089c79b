"""Random coding problems, and the definitions that solvers are held to, written out plainly."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

from sparsetheory.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, LogSum, Lq

seeds = st.integers(0, 10**6)
# Every case is malformed in one argument; the message names it.
BAD_ARRAYS = [
    ({"X": np.ones(3)}, ValueError, r"X must be two-dimensional; got shape \(3,\)"),
    ({"X": np.ones((2, 4))}, ValueError, r"X and D must have as many columns .* \(2, 4\) and \(5, 3\)$"),
    ({"X": [[1.0, np.nan, 0.0]]}, ValueError, "X must be finite"),
    ({"X": [[1j, 0, 0]]}, TypeError, "X must hold integers or floats of 32 or 64 bits; got dtype complex128"),
    ({"X": np.ones((2, 5))}, ValueError, r"got shapes \(2, 5\) and \(5, 3\); its atoms seem to be columns, pass D.T"),
    ({"D": np.zeros((5, 3))}, ValueError, "D must have no row of zeros, an atom that is zero; row 0 is one"),
    ({"D": np.full((5, 3), np.inf)}, ValueError, "D must be finite"),
    ({"D": np.ones((0, 3))}, ValueError, "D must have at least one row and one column"),
]
BAD_CODES = [
    ({"C": np.ones((2, 4))}, ValueError, r"C must have one row per signal .* shape \(2, 5\); got \(2, 4\)"),
    ({"C": np.full((2, 5), np.nan)}, ValueError, "C must be finite"),
]
BAD_LAM = [
    ({"alpha": -0.1}, ValueError, "alpha must be a finite non-negative number; got -0.1"),
    ({"alpha": np.nan}, ValueError, "alpha must be a finite non-negative number; got nan"),
    ({"alpha": "0.1"}, ValueError, "alpha must be a finite non-negative number; got '0.1'"),
]


def refuses(cases):
    """Parametrise a test over bad arguments, the error and its message."""
    return pytest.mark.parametrize(("arguments", "error", "message"), cases)


def good_arguments(**others):
    rng = np.random.default_rng(0)
    return {"X": rng.standard_normal((2, 3)), "D": rng.standard_normal((5, 3)), **others}


class Problem(NamedTuple):
    """Signals, atoms and a strength at which codes are neither full nor empty."""

    X: np.ndarray
    A: np.ndarray
    alpha: float


def draw_problem(seed, m=(3, 15), n=(3, 25), n_samples=4, plain=False):
    """Draw atoms: Gaussian of unit norm if plain; else of different norms and, for half of the seeds, correlated."""
    rng = np.random.default_rng(seed)
    m, n = (int(rng.integers(*size)) if isinstance(size, tuple) else size for size in (m, n))
    A = rng.standard_normal((m, n))
    if not plain:
        A = (A + rng.integers(2) * rng.standard_normal((m, 1))) * rng.uniform(0.3, 3, n)
    A /= np.linalg.norm(A, axis=0) if plain else np.sqrt(m)
    return Problem(rng.standard_normal((n_samples, m)), A, float(10 ** rng.uniform(-2, 0)))


def penalties(alpha, A):
    """Return one penalty of every family, weakly convex ones on both sides of their bend."""
    norms = np.linalg.norm(A, axis=0)
    return [
        L1(alpha),
        L0(alpha),
        Lq(alpha, 0.5),
        Lq(alpha, 0.3),
        CEL0(alpha, norms),
        MCP(alpha, 3.0),
        MCP(alpha, 0.01),
        SCAD(alpha),
        LogSum(alpha, 0.2),
        CappedL1(alpha, 1.0),
    ]


def objective(x, A, c, penalty):
    return 0.5 * np.sum((x - A @ c) ** 2) + penalty.value(c)


def l0_value(x, A, c, alpha):
    return 0.5 * np.sum((x - A @ c) ** 2) + alpha * np.count_nonzero(c)


def is_well_posed(A):
    """Say whether no support comes near to being dependent without being it, so that tests need not judge rounding."""
    unit = A / np.linalg.norm(A, axis=0)
    for size in range(2, min(A.shape) + 1):
        blocks = unit[:, list(combinations(range(A.shape[1]), size))].transpose(1, 0, 2)
        smallest = np.linalg.svd(blocks, compute_uv=False)[:, -1]
        if ((smallest > 1e-14) & (smallest < 1e-3)).any():
            return False
    return True


def least_squares(x, A, support):
    """Return the code that is least squares on a support, of least norm."""
    code = np.zeros(A.shape[1])
    if len(support):
        code[list(support)] = np.linalg.lstsq(A[:, list(support)], x)[0]
    return code


def planted(rng, n_samples=2000, width=16, n_atoms=24, active=2, noise=0.01):
    """Sparse combinations of random unit atoms with coefficients of size 1 to 2."""
    atoms = rng.standard_normal((n_atoms, width))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = np.zeros((n_samples, n_atoms))
    for row in codes:
        row[rng.choice(n_atoms, active, replace=False)] = rng.choice([-1, 1], active) * rng.uniform(1, 2, active)
    return codes @ atoms + noise * rng.standard_normal((n_samples, width)), atoms
