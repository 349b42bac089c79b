"""Small adversarial instances of concatenations, and the papers that the claims cite."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Source
from sparsetheory.typing import AnyArray, Float64Array

__all__ = [
    "ROUNDING",
    "ROUNDING_OF_TRACES",
    "Concatenation",
    "concatenations",
    "level_matrices",
    "paper",
]

# Instances have at most 29 rows and 72 columns: a backward-stable factorisation moves squared singular values by
# less than 100 u 72 = 8e-13 of the energy, and every claim compares a handful of them.
ROUNDING = 1e-11
# Bounds that use squared overlaps take a square root of rounding noise relative to the squared energy.
ROUNDING_OF_TRACES = 1e-9

_KINDS = ("gaussian", "common base", "rank one", "rank three", "signs", "integers")
_PAPER = "M. Shamrai, Concatenated Matrix SVD (2026)"


def paper(item: str, provenance: Literal["paper", "authors' code"] = "paper") -> Source:
    """Cite the paper of this line."""
    return Source(_PAPER, item, "2601.11626", provenance)


@dataclass(frozen=True, eq=False)
class Concatenation:
    """Blocks to be placed side by side, with a target rank.

    Parameters
    ----------
    blocks : tuple of ndarray of shape (m, n_k)
        In order of processing.
    rank, sketch : int
        Target rank r and sketch size l, at least r.
    rng_seed : int
        Seed of whatever a claim draws besides the blocks.
    """

    blocks: tuple[AnyArray, ...]
    rank: int
    sketch: int
    rng_seed: int

    @property
    def matrix(self) -> AnyArray:
        """All blocks side by side."""
        return np.hstack(self.blocks)

    @property
    def energy(self) -> float:
        """Squared Frobenius norm."""
        return float(np.linalg.norm(self.matrix) ** 2)

    @property
    def squares(self) -> Float64Array:
        """Squared singular values, descending."""
        return squares(self.matrix)

    @property
    def error(self) -> float:
        """Squared best rank-r error."""
        return float(self.squares[self.rank :].sum())

    def rng(self) -> np.random.Generator:
        """Return a fresh generator; the same one each time."""
        return np.random.default_rng(self.rng_seed)


def squares(matrix: AnyArray) -> Float64Array:
    """Squared singular values, descending."""
    if 0 in matrix.shape:
        return np.zeros(0)
    return np.linalg.svd(matrix, compute_uv=False) ** 2


def _block(rng: np.random.Generator, kind: str, base: AnyArray, width: int) -> AnyArray:
    m = base.shape[0]
    if kind == "gaussian":
        return rng.standard_normal((m, width))
    if kind == "common base":
        return base @ rng.standard_normal((base.shape[1], width))
    if kind == "rank one":
        return np.outer(base[:, 0], rng.standard_normal(width)) + 1e-3 * rng.standard_normal((m, width))
    if kind == "rank three":
        noise = 10.0 ** rng.uniform(-6, 0)
        return rng.standard_normal((m, 3)) @ rng.standard_normal((3, width)) + noise * rng.standard_normal((m, width))
    if kind == "signs":
        return rng.choice([-2.0, -1.0, 1.0, 2.0], (m, width)) * (rng.random((m, width)) < 0.3)
    return rng.integers(-3, 4, (m, width)).astype(float)


@st.composite
def concatenations(draw: st.DrawFn, *, same_shape: bool = False, min_blocks: int = 1) -> Concatenation:
    """Draw 1 to 9 blocks of six kinds with scales over six decades in three units, sometimes with a duplicate.

    Parameters
    ----------
    draw : callable
        Supplied by hypothesis.
    same_shape : bool
        Give all blocks one width.
    min_blocks : int
        At least this many.
    """
    m = draw(st.integers(2, 29))
    count = draw(st.integers(min_blocks, 9))
    widths = draw(st.lists(st.integers(1, 8), min_size=count, max_size=count))
    if same_shape:
        widths = [widths[0]] * count
    kind = draw(st.sampled_from(_KINDS))
    # Decades of the blocks, and of all of them together: theorems do not know units.
    unit = draw(st.sampled_from([0, 0, 0, -20, 20]))
    scales = [unit + s for s in draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count))]
    complex_valued = draw(st.booleans())
    duplicate = draw(st.booleans())
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((m, draw(st.integers(1, 4))))
    blocks: list[AnyArray] = [10.0**s * _block(rng, kind, base, n) for s, n in zip(scales, widths, strict=True)]
    if complex_valued:
        blocks = [a + 1j * 10.0**s * _block(rng, kind, base, a.shape[1]) for a, s in zip(blocks, scales, strict=True)]
    if duplicate:
        blocks[-1] = blocks[0].copy()
    rank = draw(st.integers(1, 7))
    return Concatenation(tuple(blocks), rank, rank + draw(st.integers(0, 5)), seed)


@st.composite
def level_matrices(draw: st.DrawFn) -> Concatenation:
    """Draw one block whose singular values are equal up to 1e-16 to 1, where bounds from traces cancel most.

    Parameters
    ----------
    draw : callable
        Supplied by hypothesis.
    """
    m, n = draw(st.integers(2, 12)), draw(st.integers(2, 12))
    spread = 10.0 ** draw(st.floats(-16.0, 0.0))
    unit = 10.0 ** draw(st.sampled_from([0, -20, 20]))
    seed = draw(st.integers(0, 2**32 - 1))
    rng, size = np.random.default_rng(seed), min(m, n)
    u = np.linalg.qr(rng.standard_normal((m, size)))[0]
    v = np.linalg.qr(rng.standard_normal((n, size)))[0]
    values = 1 + spread * rng.choice([-1.0, 0.0, 1.0], size) * rng.random(size)
    rank = draw(st.integers(1, 7))
    return Concatenation((unit * (u * values) @ v.T,), rank, rank, seed)
