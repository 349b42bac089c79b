"""Take the samples that are never forgotten out of the training data, a few at a time."""

from collections.abc import Sequence

from torch import Tensor

__all__ = ["DataRemoval"]


class DataRemoval:
    """Remove the easiest samples of a task at the beginning of some epochs."""

    def __init__(self, labels: Tensor, n_remove: int, epochs: Sequence[int]) -> None:
        raise NotImplementedError
