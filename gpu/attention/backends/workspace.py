"""Memory that short calls of one thread use again."""

import threading

import torch
from torch import Tensor

__all__ = ["workspace"]


class _Kept(threading.local):
    """Numbers of the last calls of this thread, by their type."""

    def __init__(self) -> None:
        self.memory: dict[torch.dtype, Tensor] = {}


_KEPT = _Kept()


def workspace(like: Tensor, *sizes: int) -> list[Tensor]:
    """Return pieces of memory on the processor, of the type of a tensor; what stands in them is left from other calls.

    Fresh memory of some hundred kilobytes is given back to the system and asked for again with every call. Touching its
    pages for the first time then takes as long as a fourth of a short attention.
    """
    total = sum(sizes)
    memory = _KEPT.memory.get(like.dtype)
    if memory is None or len(memory) < total:
        # What is made for inference could not be written to elsewhere.
        with torch.inference_mode(mode=False):
            memory = _KEPT.memory[like.dtype] = torch.empty(total, dtype=like.dtype)
    return list(memory[:total].split(sizes))
