"""Embedding tables under one budget of entries, which move to where they are needed while training goes on."""

from collections.abc import Callable, Sequence

import torch
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.snapshots import Score
from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.dynamic.embeddings.sparse_embedding import SparseEmbedding

__all__ = ["DynamicEmbeddings"]


class DynamicEmbeddings(TopologyController):
    """Dynamic sparse learning of embedding tables."""

    def __init__(
        self,
        tables: Sequence[SparseEmbedding],
        optimizer: Optimizer,
        fraction: Callable[[int], float] | float,
        every: int,
        *,
        budget: str = "table",
        drop: Score | None = None,
        grow: Score | None = None,
        generator: torch.Generator | int | None = None,
    ) -> None:
        raise NotImplementedError
