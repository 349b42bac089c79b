"""What the workers of a run, if there are several, agree on at a swap."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from sparsetheory.gpu.core.hooks.snapshots import Score, Snapshot
from sparsetheory.gpu.dynamic.distributed_score import DistributedScore, sum_of_workers

__all__ = ["mean_of_workers", "shared_score", "true_for_all"]


def n_workers() -> int:
    """Return how many workers train together; 1 where ``torch.distributed`` is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def shared_score(score: Score) -> Score:
    """Return a score whose values are added over workers, where there are several when it is called."""

    def shared(snapshot: Snapshot) -> Tensor:
        return score(snapshot) if n_workers() == 1 else DistributedScore(score)(snapshot)

    return shared


def mean_of_workers(gradients: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the means of gradients over workers, with equal bits; None where no worker has one."""
    if n_workers() == 1:
        return list(gradients)
    present = torch.tensor([gradient is not None for gradient in gradients], dtype=torch.int32, device=like[0].device)
    dist.all_reduce(present, dist.ReduceOp.MAX)
    return [
        sum_of_workers(torch.zeros_like(weight) if gradient is None else gradient) / n_workers() if there else None
        for gradient, weight, there in zip(gradients, like, present.tolist(), strict=True)
    ]


def true_for_all(flag: bool, device: torch.device) -> bool:
    """Return whether a condition is true for all workers."""
    if n_workers() == 1:
        return flag
    found = torch.tensor(int(flag), dtype=torch.int32, device=device)
    dist.all_reduce(found, dist.ReduceOp.MIN)
    return bool(found)
