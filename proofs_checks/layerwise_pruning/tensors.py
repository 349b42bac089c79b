"""Arrays as tensors and back, without torch before it is needed: claims are listed where torch is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sparsetheory.typing import AnyArray

__all__ = ["array", "one_thread", "tensor"]


def tensor(values: Any) -> Any:
    """Return a copy of an array as a tensor on the CPU, of the same dtype.

    Raises
    ------
    ImportError
        Without the extra ``sparsetheory[gpu]``; the claim then counts as not run.
    """
    import torch

    return torch.from_numpy(np.array(values))


def array(values: Any) -> AnyArray:
    """Return a tensor as an array."""
    return np.asarray(values.detach().cpu().numpy())


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: the order of sums, and so the last digits, must not depend on the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
