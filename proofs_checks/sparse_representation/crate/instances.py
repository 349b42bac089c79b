"""Tokens of several kinds with bases of subspaces, on which rates and steps are measured."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
from sparsetheory.typing import Float64Array

__all__ = ["BASES", "KINDS", "LEAST", "Tokens", "draw_tokens", "tokens"]

# What "above" and "below" ask of multiples of a rate: a step that changes nothing is no evidence.
LEAST = 1e-6

KINDS = ("random", "unit norm", "union of subspaces", "outlier", "with zeros")
BASES = ("orthonormal", "gaussian", "copies")


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens, bases of subspaces, and a distortion.

    Parameters
    ----------
    Z : ndarray of shape (n_tokens, dim)
    U : ndarray of shape (n_subspaces, dim, n_components)
    eps : float
    kappa_a : float
        Step size as a multiple of ``1 / a``.
    """

    Z: Float64Array
    U: Float64Array
    eps: float
    kappa_a: float = 1.0

    @property
    def a(self) -> float:
        """The constant of the rate, ``p / (N eps^2)``."""
        return self.U.shape[2] / (len(self.Z) * self.eps**2)

    @cached_property
    def as_tensors(self) -> tuple[Any, Any]:
        """Tokens and bases."""
        return tensor(self.Z), tensor(self.U)

    def rate(self, Z: Any = None) -> float:
        """Return the compressed rate of tokens, by default of these."""
        own, U = self.as_tensors
        return float(representation.compressed_rate(own if Z is None else Z, U, self.eps))

    def stepped(self, mode: str, step_size: float | None = None) -> Any:
        """Return the tokens after a step; with `step_size` in units of ``1 / a``, or the default of the mode."""
        Z, U = self.as_tensors
        kappa = None if step_size is None else step_size / (1.0 if mode in ("code", "negative") else self.a)
        return representation.mssa_step(Z, U, self.eps, kappa, mode)


def draw_tokens(
    rng: np.random.Generator,
    kind: str,
    bases: str,
    eps: float,
    *,
    kappa_a: float = 1.0,
    dim: int = 24,
    n_components: int = 6,
    n_subspaces: int = 4,
    n_tokens: int = 40,
) -> Tokens:
    """Draw tokens and bases; orthonormal ones are also orthogonal to each other, and need enough features."""
    if bases == "orthonormal":
        Q = np.linalg.qr(rng.standard_normal((dim, n_subspaces * n_components)))[0]
        U = Q.reshape(dim, n_subspaces, n_components).swapaxes(0, 1)
    else:
        U = rng.standard_normal((n_subspaces, dim, n_components)) / np.sqrt(dim)
        if bases == "copies":
            U = np.repeat(U[:1], n_subspaces, axis=0)
    Z = rng.standard_normal((n_tokens, dim))
    if kind == "unit norm":
        Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    elif kind == "union of subspaces":
        W = rng.standard_normal((n_tokens, n_components))
        Z = np.einsum("np,ndp->nd", W, U[rng.integers(n_subspaces, size=n_tokens)])
    elif kind == "outlier":
        Z[0] *= 10.0
    elif kind == "with zeros":
        Z[rng.random(n_tokens) < 0.5] = 0.0
    return Tokens(np.ascontiguousarray(Z), np.ascontiguousarray(U), eps, kappa_a)


@st.composite
def tokens(draw: st.DrawFn, bases: tuple[str, ...] = BASES, n_components: int | None = None) -> Tokens:
    """Return a strategy that draws few tokens with few features, of all kinds, at all scales."""
    p, n_subspaces = n_components or draw(st.integers(1, 3)), draw(st.integers(1, 3))
    chosen = draw(st.sampled_from(bases))
    dim = draw(st.integers(n_subspaces * p, 9))
    drawn = draw_tokens(
        np.random.default_rng(draw(st.integers(0, 2**32 - 1))),
        draw(st.sampled_from(KINDS)),
        chosen,
        draw(st.sampled_from((0.01, 0.3, 1.0, 10.0))),
        kappa_a=draw(st.sampled_from((0.01, 0.1, 0.5, 1.0))),
        dim=dim,
        n_components=p,
        n_subspaces=n_subspaces,
        n_tokens=draw(st.sampled_from((1, 2, 5, 12))),
    )
    scale = draw(st.sampled_from((1e-3, 1.0, 5.0)))
    return Tokens(scale * drawn.Z, drawn.U, drawn.eps, drawn.kappa_a)
