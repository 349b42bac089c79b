"""The densities of a sparse continual learner in a task: first it expands, then it exchanges, then it stands still."""

from dataclasses import dataclass

__all__ = ["DensityBounds", "density_path"]


@dataclass(frozen=True)
class DensityBounds:
    """Densities after dropping and after growing."""

    pruned: float
    grown: float


def density_path(
    epoch: int, base: float, inter: float = 0.01, intra: float = 0.01, settle: int = 5, freeze: int = 45
) -> DensityBounds:
    """Return between which densities a mask is exchanged in an epoch of a task."""
    raise NotImplementedError
