"""Masks of a network with a Turbo-VBI prior: the most probable supports, also with blocks of outputs that agree."""

import numpy as np
import torch

from sparsetheory.bayesian.markov.chain import initial_odds, transition_table
from sparsetheory.bayesian.markov.most_probable import best_paths
from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior
from sparsetheory.constraints import Choice
from sparsetheory.gpu.bayesian.turbo.layout import WeightGrid
from sparsetheory.gpu.bayesian.turbo.network import NetworkTurboVBI
from sparsetheory.gpu.bayesian.turbo.prior import WeightPrior
from sparsetheory.gpu.core.layers import weight_name
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.kernels.packing import BLOCK
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["most_probable_masks", "most_probable_states"]

_RULE = Choice("marginal", "path")
_BLOCK = Choice(1, BLOCK)


def most_probable_masks(turbo: NetworkTurboVBI, *, rule: str = "marginal", block: int = 1) -> MaskSet:
    r"""Return which weights are kept, by the posterior of the supports.

    Parameters
    ----------
    turbo : NetworkTurboVBI
        After training; its supports are those of its last update.
    rule : {"marginal", "path"}
        "marginal" keeps what is on with a probability above one half: fewest errors on average. "path" keeps the states
        that are the most probable ones together, by the recursion of :func:`sparsetheory.bayesian.most_probable_chain`:
        changes of state have their price, so that fewer weights are isolated. For independent states both are the same.
    block : {1, 4}
        Outputs that share their inputs, four by four from the first one as the kernels of sparse rows read them; what
        is left at the end stays single. The rule is applied to masks of this form only: "path" gives the most probable
        of them, and "marginal" the most probable of them if states were independent with their marginal probabilities.
        Layers whose grid is not outputs by inputs, such as convolutions and groups, keep single weights.

    Returns
    -------
    MaskSet
        By names of weights, on their devices. Of equal choices that which is off is taken.

    Raises
    ------
    ValueError
        If an argument is out of range, or "path" is asked for a prior on a grid, which has no exact recursion.

    Notes
    -----
    O(1) per weight. For chains along the inputs, rows of one block share one path: the logarithms of the law and the
    evidence add up over them. For chains along the outputs, a block is one node, with its evidence and its inner steps.
    The rule for blocks is ours.

    A weight whose three neighbours are off hardly ever keeps its block: a network that was not trained in blocks loses
    such weights, and most of its accuracy with them. To train blocks, give its layers a :class:`WeightGrid` with groups
    of outputs: ``rows=(0,), columns=(2,), group=(1,), view=(out // 4, 4, in)``. Without either, packing in blocks keeps
    every weight, with zeros beside it.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.bayesian import NetworkTurboVBI, bayesianise
    >>> model = bayesianise(nn.Sequential(nn.Linear(6, 4)), 1.0, generator=0)
    >>> with torch.no_grad():
    ...     _ = model[0].weight.zero_(), model[0].weight[:3, 2:5].fill_(1.0)
    >>> adam = torch.optim.Adam(model.parameters(), lr=0.05)
    >>> turbo = NetworkTurboVBI(model, adam, n_samples=10, warmup_steps=0, anneal_steps=1, update_every=1)
    >>> turbo.n_steps = 1
    >>> turbo.update()
    >>> most_probable_masks(turbo)["0.weight"].sum(1).tolist()
    [3, 3, 3, 0]
    >>> most_probable_masks(turbo, rule="path", block=4)["0.weight"].sum(1).tolist()
    [3, 3, 3, 3]
    """
    _RULE.check("rule", rule)
    _BLOCK.check("block", block)
    like, found = turbo.masks(), {}
    for name, prior in turbo.priors.items():
        grid, mask = turbo.grids[name], like[weight_name(name)]
        axis = _output_axis(grid, mask.ndim)
        size = 1 if axis is None else block
        states = torch.from_numpy(most_probable_states(prior, rule, axis=axis or 0, size=size))
        spread = states[:, :, None].expand(*states.shape, prior.group_size)
        found[weight_name(name)] = grid.unpack(spread, mask.shape).to(mask.device)
    return MaskSet(found)


def _output_axis(grid: WeightGrid, n_axes: int) -> int | None:
    """Return the axis of the grid along which single outputs of a matrix lie, if one does."""
    if n_axes != 2 or grid.view is not None or grid.group:
        return None
    return 0 if tuple(grid.rows) == (0,) else 1 if tuple(grid.columns) == (0,) else None


def most_probable_states(prior: WeightPrior, rule: str, *, axis: int = 0, size: int = 1) -> BoolArray:
    """Return the most probable states of a grid of which every `size` neighbours along an axis agree.

    Parameters
    ----------
    prior : WeightPrior
    rule : {"marginal", "path"}
    axis : {0, 1}
        0 for neighbours in one column of the grid, 1 for those in one row.
    size : int
        What is left behind the last complete group stays single.

    Returns
    -------
    ndarray of bool of shape (R, C)
    """
    law = prior.support
    if rule == "marginal" or isinstance(law, IndependentPrior):
        joined = _joined(prior.extrinsic + prior.log_odds, axis, size)
        return _spread(joined > 0.0, axis, size, prior.shape)
    if not isinstance(law, ChainPrior):
        raise ValueError(f"rule must be 'marginal' for a prior on a grid; got {rule!r} for {prior.structure!r}")
    # A grid of one column is one chain along it.
    along = axis if law.shape == prior.shape else 1
    joined = _joined(prior.log_odds.reshape(law.shape), along, size)
    states = (_paths_of_equal_chains if along == 0 else _paths_of_equal_nodes)(law, joined, size)
    return _spread(states, along, size, law.shape).reshape(prior.shape)


def _paths_of_equal_chains(law: ChainPrior, log_odds: Float64Array, size: int) -> BoolArray:
    """Return the best common path of every `size` chains; of single chains for what is left."""
    start = initial_odds(law.activation, law.deactivation, law.initial)
    log_table = np.log(transition_table(law.activation, law.deactivation))
    n_groups = law.shape[0] // size
    together = best_paths(log_odds[:n_groups], size * start, size * log_table)
    return np.concatenate([together, best_paths(log_odds[n_groups:], start, log_table)])


def _paths_of_equal_nodes(law: ChainPrior, log_odds: Float64Array, size: int) -> BoolArray:
    """Return the best path of every chain on which every `size` nodes are alike."""
    start = initial_odds(law.activation, law.deactivation, law.initial)
    log_table = np.log(transition_table(law.activation, law.deactivation))
    unary = log_odds.copy()
    unary[:, : law.shape[1] // size] += (size - 1) * (log_table[1, 1] - log_table[0, 0])
    return best_paths(unary, start, log_table)


def _joined(values: Float64Array, axis: int, size: int) -> Float64Array:
    """Sum every `size` neighbours along an axis; what is left stays single."""
    moved = np.moveaxis(values, axis, 0)
    whole = len(moved) // size * size
    sums = moved[:whole].reshape(whole // size, size, -1).sum(axis=1)
    return np.ascontiguousarray(np.moveaxis(np.concatenate([sums, moved[whole:]]), 0, axis))


def _spread(states: BoolArray, axis: int, size: int, shape: tuple[int, int]) -> BoolArray:
    n_groups = shape[axis] // size
    counts = np.where(np.arange(states.shape[axis]) < n_groups, size, 1)
    return np.repeat(states, counts, axis=axis)
