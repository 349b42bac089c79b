"""The smallest subspace in which training does almost as well as without one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["IntrinsicDimension", "intrinsic_dimension"]


@dataclass(frozen=True)
class IntrinsicDimension:
    """The outcome of a search.

    Parameters
    ----------
    n_components : int or None
        The smallest dimension found to reach the threshold; None if the largest one of the grid does not.
    curve : mapping of int to tuple of float
        Performance of each run at every dimension that was evaluated, in increasing order.
    threshold : float
        What the mean over runs must reach.
    """

    n_components: int | None
    curve: Mapping[int, tuple[float, ...]]
    threshold: float

    def plot(self, ax: Any = None) -> Any:
        """Draw the curve."""
        raise NotImplementedError


def intrinsic_dimension(
    train_eval: Callable[[int, int], float],
    baseline: float,
    dims: Iterable[int],
    *,
    fraction: float = 0.9,
    n_repeats: int = 2,
    random_state: int = 0,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    verbose: bool = False,
) -> IntrinsicDimension:
    """Find the smallest dimension of a random subspace in which training reaches a share of the direct performance."""
    raise NotImplementedError
