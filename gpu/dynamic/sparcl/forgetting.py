"""How often a sample was forgotten in training: known at one presentation and wrong at the next."""

from torch import Tensor

__all__ = ["ForgettingCounter"]


class ForgettingCounter:
    """Count forgetting events of samples."""

    def __init__(self, n_samples: int) -> None:
        raise NotImplementedError

    def update(self, ids: Tensor, correct: Tensor, margin: Tensor | None = None) -> None:
        """Add a presentation of some samples."""
        raise NotImplementedError

    def easiest(self, n: int, among: Tensor | None = None) -> Tensor:
        """Return the ids of the samples that are forgotten least."""
        raise NotImplementedError
