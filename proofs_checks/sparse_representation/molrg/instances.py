"""Mixtures of low-rank Gaussians that claims are checked on, with torch only when they are used."""

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sparsetheory.gpu import representation

__all__ = ["PAPER", "Mixture", "mixtures"]

# The model, its denoiser and the equivalence with subspace clustering.
PAPER = "Wang, Zhang, Zhang, Chen, Ma, Qu, Diffusion models learn low-dimensional distributions via subspace clustering"


@dataclass(frozen=True)
class Mixture:
    """Subspaces and points, given by numbers so that examples shrink.

    Parameters
    ----------
    n : int
        Dimension of the space.
    widths : tuple of int
        Dimension of each subspace.
    per_subspace : int
        Points on each.
    noise : float
        Standard deviation of the noise of the points.
    orthogonal : bool
        Whether the subspaces are orthogonal to each other.
    level, scale : float
        Of the noise that the denoiser sees.
    seed : int
        Of everything random.
    """

    n: int
    widths: tuple[int, ...]
    per_subspace: int = 4
    noise: float = 0.0
    orthogonal: bool = False
    level: float = 0.5
    scale: float = 1.0
    seed: int = 0

    def sample(self) -> Any:
        """Return points, labels and bases, in double precision."""
        import torch

        return representation.sample_molrg(
            self.n,
            self.widths,
            len(self.widths),
            self.per_subspace * len(self.widths),
            self.noise,
            generator=self.seed,
            orthogonal=self.orthogonal,
            dtype=torch.float64,
        )

    def denoiser(self, assignment: str = "soft") -> Any:
        """Return the denoiser with unequal weights."""
        import torch

        weights = torch.arange(1.0, len(self.widths) + 1, dtype=torch.float64)
        return representation.MoLRGDenoiser(self.sample().bases, weights, assignment=assignment)

    def noisy(self) -> Any:
        """Return noisy points."""
        import torch

        clean = self.sample().X
        source = torch.Generator().manual_seed(self.seed + 1)
        return self.scale * clean + self.level * torch.randn(clean.shape, dtype=clean.dtype, generator=source)

    def only(self) -> "Mixture":
        """Return the mixture with the first subspace alone."""
        return replace(self, widths=self.widths[:1])


def mixtures(*, orthogonal: bool = False, most: int = 3) -> SearchStrategy[Mixture]:
    """Return a strategy of small mixtures; of orthogonal ones the space has room for all."""
    return st.builds(
        Mixture,
        n=st.integers(3 * most, 3 * most + 5) if orthogonal else st.integers(3, 10),
        widths=st.lists(st.integers(1, 3), min_size=1, max_size=most).map(tuple),
        per_subspace=st.integers(1, 8),
        noise=st.sampled_from([0.0, 0.1, 1.0]),
        orthogonal=st.just(orthogonal),
        level=st.floats(0.1, 3.0),
        scale=st.floats(0.1, 2.0),
        seed=st.integers(0, 2**20),
    )
