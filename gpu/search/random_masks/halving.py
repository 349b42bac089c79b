"""Random search with a budget of training: candidates are trained a little, and the better half goes on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sparsetheory.bandits import HalvingRound, successive_halving
from sparsetheory.constraints import COUNT, Integer
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.search.random_masks.samplers import MaskSampler
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["HalvingSearch", "halving_mask_search"]

Run = Callable[[int], float]


@dataclass(frozen=True, eq=False)
class HalvingSearch:
    """The candidate that is left.

    Parameters
    ----------
    mask : MaskSet
        Of the winner.
    run : callable
        What trained it, as far as it went: a :class:`MaskedRun`, say.
    rounds : tuple of HalvingRound
        Who took part, and how good they were.
    n_steps : Tensor of int64 of shape (n_candidates,)
        Steps that each candidate was trained for.
    """

    mask: MaskSet
    run: Run
    rounds: tuple[HalvingRound, ...]
    n_steps: Tensor


def halving_mask_search(
    model: nn.Module,
    sampler: MaskSampler,
    start: Callable[[nn.Module, MaskSet], Run],
    n_candidates: int,
    budget: int,
    *,
    factor: int = 2,
    generator: torch.Generator | int | None = None,
) -> HalvingSearch:
    """Draw random masks, train all of them a little, and again and again drop the worse half.

    A score of the untrained network says hardly anything about the trained one. Here candidates are judged by what they
    are after some training, and the training is what the budget counts.

    Parameters
    ----------
    model : torch.nn.Module
        The common start; not changed.
    sampler : callable
        As :func:`random_mask_search` takes it.
    start : callable
        ``start(model, masks)`` returns the run of one candidate: a function of a number of steps, which trains for so
        many more and returns how good the candidate is then, more being better. Such as :class:`MaskedRun` with its
        data.
    n_candidates : int
        Masks to draw.
    budget : int
        Most steps of training, of all candidates together.
    factor : int
        By what the candidates are divided after each round, at least 2.
    generator : torch.Generator or int, optional
        On the CPU, or a seed; by default torch's global generator.

    Returns
    -------
    HalvingSearch

    Raises
    ------
    ValueError
        If there is no candidate, or the budget does not give each candidate a step in the first round.

    See Also
    --------
    sparsetheory.bandits.successive_halving : The strategy, with its guarantee.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu import core, search
    >>> x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> found = search.halving_mask_search(
    ...     core.models.MLP([8, 16, 2]),
    ...     search.NodeSampler(0.25),
    ...     lambda model, masks: search.MaskedRun(model, masks, (x[:100], y[:100]), (x[100:], y[100:])),
    ...     n_candidates=8,
    ...     budget=96,
    ...     generator=0,
    ... )
    >>> [len(one.arms) for one in found.rounds], found.n_steps.sum(), found.n_steps.max()
    ([8, 4, 2], tensor(96), tensor(28))
    """
    COUNT.require(n_candidates=n_candidates)
    Integer(2).require(factor=factor)
    source = cpu_generator(generator)
    masks = [sampler(model, source) for _ in range(n_candidates)]
    runs: dict[int, Run] = {}
    n_steps = torch.zeros(n_candidates, dtype=torch.int64)

    def play(arms: IndexArray, n_plays: int) -> Float64Array:
        for arm in set(runs) - set(arms.tolist()):
            # A candidate that is out needs no memory.
            del runs[arm]
        n_steps[torch.from_numpy(arms)] += n_plays
        return np.array([_run(arm)(n_plays) for arm in arms.tolist()], dtype=np.float64)

    def _run(arm: int) -> Run:
        if arm not in runs:
            runs[arm] = start(model, masks[arm])
        return runs[arm]

    found = successive_halving(play, n_candidates, budget, factor=factor)
    return HalvingSearch(masks[found.arm], _run(found.arm), found.rounds, n_steps)
