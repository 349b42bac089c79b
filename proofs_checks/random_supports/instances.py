"""Small adversarial regression problems on random supports, and the sources that the claims cite."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Source
from sparsetheory.regression import make_design
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.orthonormal import orthonormal_basis
from sparsetheory.typing import Float64Array, IndexArray

__all__ = [
    "ROUNDING",
    "Anchored",
    "Problem",
    "draw_problem",
    "inspired",
    "problems",
]

# Distances of columns as close as 1e-5 to a span carry relative errors of 1e-16 / 1e-5, times some dozens of rows.
ROUNDING = 1e-8

_DESIGNS: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "clusters": {"n_clusters": 6, "min_scale": 1e-4, "max_scale": 1e-1},
    "lowrank": {"rank": 3, "perturbation": 1e-2},
    "tree": {"n_children": 3, "depth": 2},
}


def inspired(item: str) -> Source:
    """Cite a derivation of this package in the sense of the paper of this line, whose proofs it does not follow."""
    return Source.ours(f"{item} (two phases as in arXiv:2511.06211)")


@dataclass(frozen=True)
class Anchored:
    """The part of anchors that a compatibility needs: the distance of every column to their span."""

    weights: Float64Array


@dataclass(frozen=True, eq=False)
class Problem:
    """A design with a support, anchors, coefficients on the support, and noise.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Columns of root mean square one.
    S, T : ndarray of int
        Support and anchors; they may share columns.
    w : ndarray of shape (n_nonzero,)
        Coefficients on the support; the signal has root mean square one.
    noise : ndarray of shape (n_samples,)
    rng_seed : int
        Seed of whatever a claim draws besides.
    """

    X: Float64Array
    S: IndexArray
    T: IndexArray
    w: Float64Array
    noise: Float64Array
    rng_seed: int

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    @cached_property
    def signal(self) -> Float64Array:
        """The noiseless response."""
        return self.X[:, self.S] @ self.w

    @cached_property
    def y(self) -> Float64Array:
        """The response."""
        return self.signal + self.noise

    @cached_property
    def columns(self) -> Columns:
        """The design with the anchors projected out."""
        return Columns(self.X, orthonormal_basis(self.X[:, self.T])[0])

    @cached_property
    def distances(self) -> Float64Array:
        """Root-mean-square distances to the span of the anchors."""
        squares = self.columns.squares()
        squares[squares < 1e-20 * self.n] = 0.0
        return np.sqrt(squares / self.n)

    def rms(self, vector: Float64Array) -> float:
        """Return the root mean square."""
        return float(np.linalg.norm(vector) / np.sqrt(self.n))

    def rng(self) -> np.random.Generator:
        """Return a fresh generator; the same one each time."""
        return np.random.default_rng(self.rng_seed)


def draw_problem(kind: str, n: int, d: int, k: int, m: int, seed: int, spread: str = "min") -> Problem:
    """Draw a problem of one family.

    Parameters
    ----------
    kind : str
        "gaussian", "clusters", "lowrank", "tree", or "orthonormal", the design on which l1 bounds are tight.
    n, d, k, m : int
        Rows, columns, support, anchors; an orthonormal design has at most n columns.
    seed : int
        Everything is drawn from it.
    spread : {"min", "equal", "gauss"}
        Coefficients along the least singular direction, of equal size, or Gaussian.

    Returns
    -------
    Problem
    """
    rng = np.random.default_rng(seed)
    if kind == "orthonormal":
        X = np.sqrt(n) * np.linalg.qr(rng.standard_normal((n, min(n, d))))[0]
    else:
        X = make_design(kind, n, d, random_state=int(rng.integers(2**31)), **_DESIGNS[kind])
    d = X.shape[1]
    S = np.sort(rng.choice(d, min(k, d), replace=False))
    T = np.sort(rng.choice(d, min(m, d), replace=False))
    w = _coefficients(X[:, S], spread, rng)
    noise = 10 ** rng.uniform(-3, 0) * rng.standard_normal(n)
    return Problem(np.asfortranarray(X), S, T, w, noise, int(rng.integers(2**31)))


def _coefficients(XS: Float64Array, spread: str, rng: np.random.Generator) -> Float64Array:
    if spread == "min":
        w = np.linalg.svd(XS, full_matrices=False)[2][-1]
    elif spread == "gauss":
        w = rng.standard_normal(XS.shape[1])
    else:
        w = rng.choice([-1.0, 1.0], XS.shape[1])
    return w * np.sqrt(XS.shape[0]) / np.linalg.norm(XS @ w)


def problems() -> st.SearchStrategy[Problem]:
    """Search problems with independent support columns of condition number below 1e8."""
    drawn = st.builds(
        draw_problem,
        st.sampled_from(["orthonormal", *_DESIGNS]),
        st.integers(20, 60),
        st.integers(30, 150),
        st.integers(1, 5),
        st.integers(0, 6),
        st.integers(0, 2**32 - 1),
        st.sampled_from(["min", "equal", "gauss"]),
    )
    return drawn.filter(_well_posed)


def _well_posed(problem: Problem) -> bool:
    return bool(np.linalg.cond(problem.X[:, problem.S]) < 1e8)
