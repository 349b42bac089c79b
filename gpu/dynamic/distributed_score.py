"""A score that all workers of a run agree on."""

import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sparsetheory.gpu.core.hooks.snapshots import Score, Snapshot

__all__ = ["DistributedScore", "sum_of_workers"]


class DistributedScore:
    """The sum of a score over all workers, with the same bits for each of them.

    Masks of workers stay equal as long as their scores are. Where gradients are averaged at every step, as
    ``DistributedDataParallel`` does, weights, gradients and moments are equal already, and so are scores with equal
    seeds. Where they are not, such as between the averages of local SGD, or with a momentum of gradients that were not
    averaged, give this score to the controller of each worker. Then all drop and grow the same entries, those that are
    best for the workers together.

    A sum ranks as a mean does, and keeps integers. It is formed by one worker and sent to the others, so that rounding
    cannot differ. All workers must come to an event in the same step; a controller skips events with gradients that are
    not finite, so these have to be the same for all, too.

    Parameters
    ----------
    score : callable
        The score of one worker, such as ``magnitude``. What else it has, such as `observe`, is passed through.
    group : torch.distributed.ProcessGroup, optional
        The workers; by default all.

    Raises
    ------
    RuntimeError
        At the first event, if no process group has been initialised.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.dynamic import gradient_magnitude
    >>> score = DistributedScore(gradient_magnitude)  # for the argument `grow` of TopologyController
    >>> score.score.__name__
    'gradient_magnitude'
    """

    def __init__(self, score: Score, group: Any = None) -> None:
        self.score = score
        self.group = group

    def __call__(self, snapshot: Snapshot) -> Tensor:
        """Return the sum of the scores of all workers; each of them must call."""
        if not dist.is_initialized():
            raise RuntimeError("a distributed score needs torch.distributed.init_process_group; none has been called")
        return sum_of_workers(self.score(snapshot), self.group)

    def __deepcopy__(self, memo: dict[int, Any]) -> "DistributedScore":
        # A group of workers is a connection: a copy of the score uses the same one.
        return DistributedScore(copy.deepcopy(self.score, memo), self.group)

    def __getattr__(self, name: str) -> Any:
        # Only what this class does not have: observe, state_dict and load_state_dict, if the score has them.
        # Names with underscores are asked for by copies and pickles, which mean this object.
        if name == "score" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.score, name)


def sum_of_workers(own: Tensor, group: Any = None) -> Tensor:
    """Return the sum of a tensor over all workers, with the same bits for each; in at least float32."""
    total = own.float() if own.dtype in (torch.float16, torch.bfloat16) else own.clone()
    total = total.contiguous()
    first = 0 if group is None else dist.get_global_rank(group, 0)
    dist.reduce(total, first, group=group)
    dist.broadcast(total, first, group=group)
    return total
