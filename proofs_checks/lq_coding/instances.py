"""Penalties, dictionaries and signals that are small and adversarial, and the sources that the claims cite."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, LogSum, Lq, Penalty
from sparsetheory.proofs_checks.claim import Source
from sparsetheory.typing import Float64Array

__all__ = [
    "ALL",
    "EPS",
    "JUMPING",
    "WEAKLY_CONVEX",
    "Coding",
    "classic",
    "codings",
    "decades",
    "draw_coding",
    "measured",
    "objective",
    "ours",
    "penalties",
    "penalty_of",
    "seeds",
    "shape_of",
    "wide",
]

EPS = float(np.finfo(float).eps)
ALL = ("l1", "l0", "lq", "cel0", "mcp", "scad", "log_sum", "capped_l1")
WEAKLY_CONVEX = ("cel0", "mcp", "scad", "log_sum")
# Their thresholding operators jump at every step.
JUMPING = ("l0", "lq")


def classic(who: str, item: str) -> Source:
    """Cite known theory."""
    return Source(who, item, provenance="classic")


def ours(item: str) -> Source:
    """Cite a derivation of this package, given in the docstring of the claim's measurement."""
    return Source("sparsetheory", item, provenance="ours")


def measured(item: str) -> Source:
    """Cite an experiment of this package: what is observed in the sweep of the claim, and proved nowhere."""
    return Source("sparsetheory", item, provenance="measured")


def decades(low: float, high: float) -> st.SearchStrategy[float]:
    """Search powers of ten between two exponents."""
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


def wide(low: float, high: float) -> st.SearchStrategy[float]:
    """Search powers of ten between two exponents, and half the time from 1e-8 to 1e8."""
    return decades(low, high) | decades(-8, 8)


seeds = st.integers(0, 2**32 - 1)


def penalty_of(name: str, alpha: float, free: float, q: float, norms: Any = 1.0) -> Penalty:
    """Build a penalty from a positive number that shapes any family, and q for lq."""
    families = {
        "l1": lambda: L1(alpha),
        "l0": lambda: L0(alpha),
        "lq": lambda: Lq(alpha, q),
        "cel0": lambda: CEL0(alpha, norms),
        "mcp": lambda: MCP(alpha, free),
        "scad": lambda: SCAD(alpha, 2 + free),
        "log_sum": lambda: LogSum(alpha, free),
        "capped_l1": lambda: CappedL1(alpha, free),
    }
    return families[name]()


def shape_of(penalty: Penalty) -> dict[str, Any]:
    """Return the number beside the strength of a penalty, by name."""
    others = [field.name for field in fields(penalty) if field.name not in ("alpha", "positive")]
    return {name: getattr(penalty, name) for name in others}


@st.composite
def penalties(draw: st.DrawFn, names: tuple[str, ...] = ALL, low: float = -2.0, high: float = 1.0) -> Penalty:
    """Search penalties of the given families.

    Parameters
    ----------
    draw : callable
        Supplied by hypothesis.
    names : tuple of str
        Families.
    low, high : float
        Exponents of the smallest and largest strength in half of the cases, 1e-8 and 1e8 in the others; shapes lie
        between 0.1 and 10.
    """
    q = draw(st.sampled_from([0.5, 2 / 3, 0.3]) | st.floats(0.02, 0.98))
    free = draw(decades(-1, 1))
    return penalty_of(draw(st.sampled_from(names)), draw(wide(low, high)), free, q, norms=free)


@dataclass(frozen=True, eq=False)
class Coding:
    """One signal and the atoms to write it with.

    Parameters
    ----------
    A : ndarray of shape (m, n)
        Atoms in columns, none of them zero: the transpose of a dictionary.
    x : ndarray of shape (m,)
        The signal.
    seed : int
        Seed of whatever a claim draws besides.
    """

    A: Float64Array
    x: Float64Array
    seed: int

    def __repr__(self) -> str:
        """Show shapes and size: arrays would fill the screen."""
        m, n = self.A.shape
        return f"Coding(m={m}, n={n}, L={self.L:.3g}, |x|={np.linalg.norm(self.x):.3g}, seed={self.seed})"

    @property
    def X(self) -> Float64Array:
        """The signal as a row."""
        return self.x[None]

    @cached_property
    def L(self) -> float:
        """Largest squared singular value of the atoms: the Lipschitz constant of the gradient."""
        return float(np.linalg.norm(self.A, 2) ** 2)

    @cached_property
    def norms(self) -> Float64Array:
        """Norms of the atoms."""
        return np.linalg.norm(self.A, axis=0)

    @cached_property
    def correlations(self) -> Float64Array:
        """Inner products of the atoms with the signal."""
        return self.A.T @ self.x

    def rng(self) -> np.random.Generator:
        """Return a fresh generator; the same one each time."""
        return np.random.default_rng(self.seed)

    def gradient(self, code: Float64Array) -> Float64Array:
        """Return the gradient of the loss."""
        return self.A.T @ (self.A @ code - self.x)


def objective(coding: Coding, penalty: Penalty, code: Float64Array) -> float:
    """Return ``||x - A c||^2 / 2 + penalty(c)``."""
    residual = coding.x - coding.A @ code
    return float(residual @ residual) / 2 + penalty.value(code)


def _atoms(rng: np.random.Generator, kind: str, m: int, n: int) -> Float64Array:
    A = rng.standard_normal((m, n))
    if kind == "orthogonal":
        A = np.linalg.qr(rng.standard_normal((m, m)))[0][:, : min(m, n)]
    elif kind == "common part":
        A = A + 2 * rng.standard_normal((m, 1))
    elif kind == "duplicates":
        A[:, n // 2 :] = A[:, : n - n // 2] * rng.choice([-1.0, 1.0], n - n // 2)
    elif kind == "near duplicates":
        A[:, n // 2 :] = A[:, : n - n // 2] + 10 ** rng.uniform(-3, -1) * A[:, n // 2 :]
    elif kind == "integers":
        A = rng.integers(-2, 3, (m, n)) + np.eye(m, n) * 3.0
        A[0, ~A.any(axis=0)] = 1.0
    return A / np.linalg.norm(A, axis=0)


def _signal(rng: np.random.Generator, kind: str, A: Float64Array) -> Float64Array:
    m, n = A.shape
    if kind == "zero":
        return np.zeros(m)
    if kind == "weakest":
        u, s, _ = np.linalg.svd(A, full_matrices=False)
        return np.array(u[:, np.flatnonzero(s > 1e-6 * s[0])[-1]])
    if kind == "one atom":
        return np.array(A[:, rng.integers(n)])
    if kind == "noise":
        return rng.standard_normal((m,))
    code = rng.standard_normal(n) * (np.arange(n) < max(n // 4, 1))
    return A @ rng.permutation(code) + 0.1 * rng.standard_normal(m)


def draw_coding(kind: str, signal: str, m: int, n: int, spread: float, seed: int) -> Coding:
    """Draw atoms and a signal.

    Parameters
    ----------
    kind : {"gaussian", "orthogonal", "common part", "duplicates", "near duplicates", "integers"}
        How the atoms, of unit norm at first, lie; at most m of them where they are orthogonal.
    signal : {"sparse", "noise", "weakest", "one atom", "zero"}
        A few atoms with noise, noise, the weakest direction that the atoms span, one atom, nothing.
    m, n : int
        Length of the signal and number of atoms.
    spread : float
        Decades over which the norms of the atoms are spread, ending at 1.
    seed : int
        Everything is drawn from it.

    Returns
    -------
    Coding
    """
    rng = np.random.default_rng(seed)
    A = _atoms(rng, kind, m, n)
    A *= 10 ** rng.uniform(-spread, 0, A.shape[1])
    return Coding(A, _signal(rng, signal, A), int(rng.integers(2**31)))


def codings(
    *, unit: bool = False, max_m: int = 10, max_n: int = 20, kinds: tuple[str, ...] | None = None, zero: bool = True
) -> st.SearchStrategy[Coding]:
    """Search codings of every kind.

    Parameters
    ----------
    unit : bool
        Only atoms of unit norm.
    max_m, max_n : int
        Longest signal and largest number of atoms.
    kinds : tuple of str, optional
        Kinds of atoms, as in :func:`draw_coding`; all by default.
    zero : bool
        Also draw the zero signal.
    """
    all_kinds = ("gaussian", "orthogonal", "common part", "duplicates", "near duplicates", "integers")
    signals = ["sparse", "noise", "weakest", "one atom"] + ["zero"] * zero
    return st.builds(
        draw_coding,
        st.sampled_from(kinds or all_kinds),
        st.sampled_from(signals),
        st.integers(1, max_m),
        st.integers(1, max_n),
        st.just(0.0) if unit else st.sampled_from([0.0, 1.0, 2.0]),
        seeds,
    )
