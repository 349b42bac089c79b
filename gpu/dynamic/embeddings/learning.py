"""Embedding tables under one budget of entries, which move to where they are needed while training goes on."""

from collections.abc import Callable, Sequence

import torch
from torch.optim import Optimizer

from sparsetheory.constraints import COUNT, Choice
from sparsetheory.gpu.core.hooks.snapshots import Score
from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.dynamic.embeddings.accumulated_gradients import GradientAccumulator
from sparsetheory.gpu.dynamic.embeddings.sparse_embedding import SparseEmbedding
from sparsetheory.gpu.dynamic.scores import magnitude

__all__ = ["DynamicEmbeddings"]


class DynamicEmbeddings(TopologyController):
    """Train sparse embedding tables whose entries move: the smallest leave, and others grow where gradients are large.

    The number of entries is the same after every step, so training is never larger than what it ends with. Rows that
    occur often collect more entries than others. A row may lose all of them. Its scores are 0 then, until it grows
    again.

    Batches touch few rows, so the score of growth has to remember; see :class:`GradientAccumulator`. Let at least as
    many steps pass between events as batches need to meet most rows.

    Parameters
    ----------
    tables : sequence of SparseEmbedding
        Their weights are parameters of the optimiser, and their masks are changed in place.
    optimizer : torch.optim.Optimizer
        Any but LBFGS.
    fraction : callable or float
        From steps done to the share of the entries to move, such as ``Cosine(0.3, 450)`` for 600 steps.
    every : int
        Steps between events.
    budget : {"table", "global"}
        Whether each table keeps its number of entries, or all together.
    drop, grow : callable, optional
        Scores; by default the magnitude of weights and a new :class:`GradientAccumulator`.
    generator : torch.Generator or int, optional
        For random scores: on the CPU, or a seed.

    Raises
    ------
    ValueError
        If a table is none, occurs twice, shares its weight with another one, has sparse gradients, or is not one of the
        optimiser; or an argument is out of range.

    See Also
    --------
    TopologyController : What happens in a step, and how to store and report a run.

    References
    ----------
    Wang, Sui, Wu, Zheng, Xiong, "Dynamic Sparse Learning: A Novel Paradigm for Efficient Recommendation", WSDM 2024.

    Examples
    --------
    >>> import torch
    >>> users, items = (SparseEmbedding(n, 8, 0.25, generator=0) for n in (50, 30))
    >>> optimizer = torch.optim.Adam([users.weight, items.weight], lr=0.01)
    >>> tables = DynamicEmbeddings([users, items], optimizer, fraction=0.3, every=2)
    >>> for row in range(4):
    ...     score = (users(torch.tensor([row])) * items(torch.tensor([row]))).sum()
    ...     torch.nn.functional.softplus(-score).backward()
    ...     optimizer.step()
    ...     optimizer.zero_grad()
    >>> [int(table.mask.sum()) for table in (users, items)]
    [100, 60]
    """

    def __init__(
        self,
        tables: Sequence[SparseEmbedding],
        optimizer: Optimizer,
        fraction: Callable[[int], float] | float,
        every: int,
        *,
        budget: str = "table",
        drop: Score = magnitude,
        grow: Score | None = None,
        generator: torch.Generator | int | None = None,
    ) -> None:
        Choice("table", "global").check("budget", budget)
        self.tables = _checked(tables)
        forbid = {}
        for table in self.tables:
            if table.padding_idx is not None:
                barred = torch.zeros_like(table.mask)
                barred[table.padding_idx] = True
                forbid[table.weight] = barred
        super().__init__(
            optimizer,
            {table.weight: table.mask for table in self.tables},
            drop=drop,
            grow=GradientAccumulator() if grow is None else grow,
            fraction=fraction,
            every=COUNT.check("every", every),
            forbid=forbid,
            budget="tensor" if budget == "table" else "global",
            generator=generator,
        )

    @property
    def n_empty_rows_(self) -> int:
        """How many rows of all tables keep no entry, those of paddings aside."""
        return sum(table.n_empty_rows_ for table in self.tables)


def _checked(tables: Sequence[SparseEmbedding]) -> tuple[SparseEmbedding, ...]:
    if isinstance(tables, torch.nn.Module):
        raise ValueError(f"tables must be a sequence of SparseEmbedding; got one {type(tables).__name__}")
    found = tuple(tables)
    if not found or len({id(table) for table in found}) < len(found):
        raise ValueError(f"tables must hold at least one table, each once; got {len(found)}")
    for index, table in enumerate(found):
        if not isinstance(table, SparseEmbedding):
            raise ValueError(f"tables must hold SparseEmbedding; number {index} is {type(table).__name__}")
        if table.sparse:
            raise ValueError(f"tables must have dense gradients; number {index} has sparse=True")
        if any(table.weight is other.weight for other in found[:index]):
            raise ValueError(f"tables must have weights of their own; number {index} shares that of an earlier one")
    return found
