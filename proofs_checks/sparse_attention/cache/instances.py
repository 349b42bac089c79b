"""Small caches with hard entries: ties, negative zeros, empty and full tiles."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["Pruning", "Tokens", "draw_pruning", "prunings", "tokens"]

_KINDS = ("gaussian", "integers", "equal", "blocks", "negative zeros", "full")


@dataclass(frozen=True, eq=False)
class Tokens:
    """Keys or values of two heads, and the share of each token that is dropped."""

    x: AnyArray
    sparsity: float

    @property
    def width(self) -> int:
        """Entries of a token."""
        return int(self.x.shape[-1])

    @property
    def kept(self) -> int:
        """Entries of a token that stay."""
        return self.width - int(np.floor(self.sparsity * self.width))


@dataclass(frozen=True, eq=False)
class Pruning:
    """One query of one head, with keys and values and their sparsities."""

    q: Float64Array
    k: Float64Array
    v: Float64Array
    k_sparsity: float
    v_sparsity: float


def _entries(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Float64Array:
    x = rng.standard_normal(shape)
    if kind == "integers":
        return np.round(x)
    if kind == "equal":
        return rng.choice([-1.5, 1.5], shape)
    if kind == "blocks":
        # Whole tiles without any entry, next to full ones.
        x[:, : shape[1] // 2] = 0.0
    elif kind == "negative zeros":
        x[rng.random(shape) < 0.5] = -0.0
    return x


@st.composite
def tokens(draw: st.DrawFn) -> Tokens:
    """Return a strategy of tokens of two heads, in single or double precision."""
    shape = (2, draw(st.sampled_from([1, 3, 64, 70, 130])), draw(st.sampled_from([1, 2, 7, 64, 80])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = _entries(rng, draw(st.sampled_from(_KINDS)), shape)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return Tokens(x.astype(dtype), draw(st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.95])))


def draw_pruning(rng: np.random.Generator, scale: float, n: int = 24, width: int = 8) -> Pruning:
    """Draw a query, keys and values; the size of the query says how much scores differ."""
    q, k, v = rng.standard_normal((1, width)), rng.standard_normal((n, width)), rng.standard_normal((n, width))
    return Pruning(scale * q, k, v, 0.5, 0.5)


@st.composite
def prunings(draw: st.DrawFn) -> Pruning:
    """Return a strategy of queries with few or many keys, of which some may be equal."""
    n, width = draw(st.integers(1, 12)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k, v = _entries(rng, draw(st.sampled_from(_KINDS)), (1, n, width))[0], rng.standard_normal((n, width))
    if draw(st.booleans()):
        k[rng.integers(n)] = k[0]
    q = draw(st.sampled_from([0.1, 1.0, 20.0])) * rng.standard_normal((1, width))
    return Pruning(q, k, v, draw(st.sampled_from([0.3, 0.5, 0.9])), draw(st.sampled_from([0.3, 0.5, 0.9])))
