"""A grow score for tables of which a batch touches few rows: gradients accumulate, and decay lazily."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sparsetheory.gpu.core.hooks.snapshots import Snapshot

__all__ = ["GradientAccumulator"]


class GradientAccumulator:
    """Magnitudes of a decaying sum of gradients."""

    def __init__(self, decay: float = 0.9) -> None:
        raise NotImplementedError

    def observe(self, index: int, gradient: Tensor) -> None:
        """Add the dense gradient of a step under the mask of this index."""
        raise NotImplementedError

    def __call__(self, snapshot: Snapshot) -> Tensor:
        """Return the score of a snapshot."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return what has accumulated."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        raise NotImplementedError
