"""What a weight is worth to a learner of several tasks."""

from collections.abc import Sequence

from torch import Tensor

from sparsetheory.gpu.core.hooks.snapshots import Snapshot

__all__ = ["ContinualImportance"]


class ContinualImportance:
    """Drop score of a continual learner: magnitude and gradient, a first-order change, or a second-order price."""

    def __init__(
        self,
        gradient_weight: float = 0.5,
        *,
        importance: str = "sparcl",
        curvatures: Sequence[Tensor] | None = None,
    ) -> None:
        raise NotImplementedError

    def __call__(self, snapshot: Snapshot) -> Tensor:
        """Return the score of a snapshot."""
        raise NotImplementedError
