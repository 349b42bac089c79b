"""Balanced tree reduction of summaries, on one machine or many."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import reduce
from typing import Any

import numpy as np
from scipy import sparse

from sparsetheory.constraints import COUNT
from sparsetheory.lowrank.summary import SVDSummary

__all__ = ["tree_summary"]

# Blocks that one task reads; a power of two, so that tasks are whole subtrees and the shape does not depend on it.
_BLOCKS_PER_TASK = 8


def tree_summary(
    blocks: Sequence[Any],
    rank: int,
    *,
    target_rank: int | None = None,
    executor: Executor | Any | None = None,
) -> SVDSummary:
    """Summarise blocks by a balanced binary tree of merges.

    The tree is fixed by the order of the blocks: the result is the same for every executor and every number of
    workers. A balanced tree truncates on ``ceil(log2(p)) + 1`` levels where a chain of p blocks truncates on p,
    and its upper bound is better by that factor in the worst case.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Arrays, memory maps or dask arrays; each is read once, by the worker that needs it.
    rank : int
        Directions kept at every node.
    target_rank : int, optional
        Largest rank of interest, `rank` by default.
    executor : None, concurrent.futures.Executor or dask.distributed.Client, optional
        Where the tasks run; in this thread by default.

    Returns
    -------
    SVDSummary

    Raises
    ------
    ValueError, TypeError
        On invalid blocks or rank.

    Notes
    -----
    A worker holds one block and O(m rank log p) numbers; a message carries one node, ``8 m rank`` bytes.

    Examples
    --------
    >>> import numpy as np
    >>> blocks = [np.eye(6)[:, k : k + 2] for k in range(5)]
    >>> tree_summary(blocks, rank=3).n_columns
    10
    """
    rank = COUNT.check("rank", rank)
    if len(blocks) == 0:
        raise ValueError("need at least one block; got an empty list")
    _require_rows(blocks)
    starts = range(0, len(blocks), _BLOCKS_PER_TASK)
    submit, gather = _scheduler(executor)
    nodes = [
        submit(_subtree, [_lazy(b, executor) for b in blocks[i : i + _BLOCKS_PER_TASK]], i, rank, target_rank)
        for i in starts
    ]
    return gather(_reduce_pairs(nodes, lambda a, b: submit(SVDSummary.merge, a, b)))


def _reduce_pairs(nodes: list[Any], merge: Callable[[Any, Any], Any]) -> Any:
    while len(nodes) > 1:
        paired = [merge(a, b) for a, b in zip(nodes[::2], nodes[1::2], strict=False)]
        nodes = paired + nodes[len(paired) * 2 :]
    return nodes[0]


def _require_rows(blocks: Sequence[Any]) -> None:
    """Raise ValueError for the first block whose row count differs, before any is read."""
    if sparse.issparse(blocks) or isinstance(blocks, np.matrix):
        raise ValueError(f"blocks must be a list of matrices; got one {type(blocks).__name__}")
    shapes = [_shape(block) for block in blocks]
    for k, shape in enumerate(shapes):
        if len(shape) == len(shapes[0]) == 2 and shape[0] != shapes[0][0]:
            raise ValueError(f"row counts must agree: block 0 has {shapes[0][0]}, block {k} has {shape[0]}")


def _shape(block: Any) -> tuple[int, ...]:
    try:
        return tuple(block.shape if hasattr(block, "shape") else np.shape(block))
    except ValueError:
        # Rows of different lengths: reading the block says so.
        return ()


def _subtree(blocks: Sequence[Any], first: int, rank: int, target_rank: int | None) -> SVDSummary:
    # A binary counter merges as the blocks arrive, so that at most one node per level is alive.
    pending: list[tuple[int, SVDSummary]] = []
    for k, block in enumerate(blocks, first):
        level, node = 0, SVDSummary.named(block, f"block {k}", rank, target_rank)
        while pending and pending[-1][0] == level:
            node = pending.pop()[1].merge(node)
            level += 1
        pending.append((level, node))
    return reduce(lambda right, left: left.merge(right), (node for _, node in reversed(pending)))


def _is_dask_client(executor: Any) -> bool:
    return type(executor).__module__.split(".")[0] == "distributed"


def _lazy(block: Any, executor: Any) -> Any:
    """Let a dask cluster compute a dask block where it is needed; leave other blocks alone."""
    if _is_dask_client(executor) and hasattr(block, "__dask_graph__"):
        return executor.compute(block)
    return block


def _scheduler(executor: Any) -> tuple[Callable[..., Any], Callable[[Any], SVDSummary]]:
    if executor is None:
        return (lambda function, *arguments: function(*arguments)), (lambda node: node)
    if _is_dask_client(executor):
        # Futures are passed on as they are: nodes travel between workers and never through this process.
        return (
            lambda function, *arguments: executor.submit(function, *arguments, pure=False),
            lambda node: node.result(),
        )
    if not hasattr(executor, "submit"):
        raise TypeError(
            "executor must be None, a concurrent.futures.Executor or a dask.distributed.Client, "
            f"got {type(executor).__name__}"
        )

    def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return executor.submit(function, *[a.result() if isinstance(a, Future) else a for a in arguments])

    return submit, lambda node: node.result()
