"""Hidden neurons that carry nothing, taken out of a sequential network."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sparsetheory.constraints import Instance
from sparsetheory.gpu.bayesian.layers.modes import variational_layers
from sparsetheory.gpu.weights.training.channel_surgery import (
    add_constants,
    after_activations,
    is_plain,
    keep_channels,
    keep_inputs,
    keep_outputs,
    leaves,
    n_inputs,
    n_outputs,
    pads_with_zeros,
    passes,
)

__all__ = ["remove_dead_neurons"]


def remove_dead_neurons(model: nn.Sequential) -> nn.Sequential:
    """Return a smaller copy of a pruned network with the same outputs.

    A neuron goes if no weight reads it, or if it reads nothing: then it sends a constant, which is added to the biases
    of the next layer. Neurons that are dead only then go too. Channels of convolutions are treated alike. The inputs
    and outputs of the network stay, and one neuron of every layer.

    Parameters
    ----------
    model : torch.nn.Sequential
        Its modules act one after the other, and sequences may be nested. Between linear layers and convolutions without
        groups there may be activations that act entry by entry, batch normalisation, dropout, pooling and ``Flatten``;
        behind any other module neurons stay. Inputs of linear layers are of shape (n, features).

    Returns
    -------
    torch.nn.Sequential
        Of the class of `model`, in its mode, with new parameters, for which to make a new optimiser. In evaluation mode
        its outputs are the same up to the rounding of shorter sums.

    Raises
    ------
    ValueError
        If `model` is no sequence, holds a layer twice, or has normal weights.

    See Also
    --------
    export_plain : Bayesian networks as plain ones.
    sparsetheory.gpu.weights.remove_channels : Channels by the scales of their normalisation.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> with torch.no_grad():
    ...     _ = model[0].weight[0].zero_(), model[2].weight[:, 1].zero_()
    >>> smaller, x = remove_dead_neurons(model), torch.ones(5, 3)
    >>> smaller[0].weight.shape, torch.allclose(smaller(x), model(x), atol=1e-6)
    (torch.Size([2, 3]), True)
    """
    Instance(nn.Sequential, "a torch.nn.Sequential").check("model", model)
    if variational_layers(model):
        raise ValueError("model must have plain layers; got normal weights, call export_plain before")
    smaller = copy.deepcopy(model)
    links = _links(smaller)
    # Each pass that changes something takes a neuron away, so this ends.
    while any(link.cut() for link in links):
        pass
    return smaller


@dataclass(frozen=True)
class _Link:
    """A layer, the next one, and what lies between."""

    producer: nn.Module
    between: tuple[nn.Module, ...]
    consumer: nn.Module

    @torch.no_grad()
    def cut(self) -> bool:
        """Take dead neurons out, and return whether there were any."""
        weight, reader = self.producer.weight, self.consumer.weight
        assert isinstance(weight, Tensor)
        assert isinstance(reader, Tensor)
        places = n_inputs(self.consumer) // n_outputs(self.producer)
        unread = ~(reader.movedim(1, 0).reshape(len(weight), -1) != 0).any(1)
        unfed = ~(weight.flatten(1) != 0).any(1)
        sent = self._constants()
        # A constant that meets zero padding is no constant near the border.
        unfed &= sent.isfinite() & ((sent == 0) | (not pads_with_zeros(self.consumer)))
        dead = unread | unfed
        if bool(dead.all()):
            dead[0] = False
        if not bool(dead.any()):
            return False
        constants = torch.where(dead & ~unread, sent, 0.0)
        if bool(constants.any()):
            add_constants(self.consumer, constants.repeat_interleave(places))
        keep_outputs(self.producer, ~dead)
        for module in self.between:
            if isinstance(module, _BatchNorm):
                keep_channels(module, ~dead)
        keep_inputs(self.consumer, ~dead.repeat_interleave(places))
        return True

    def _constants(self) -> Tensor:
        """Return what neurons without inputs send to the next layer, in evaluation mode."""
        weight, bias = self.producer.weight, self.producer.bias
        assert isinstance(weight, Tensor)
        values = bias.detach() if isinstance(bias, Tensor) else weight.new_zeros(len(weight))
        for module in self.between:
            values = (
                _normalised(module, values) if isinstance(module, _BatchNorm) else after_activations(values, [module])
            )
        return values


def _normalised(norm: _BatchNorm, values: Tensor) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return nn.functional.batch_norm(
        values[None], norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
    )[0]


def _links(model: nn.Sequential) -> list[_Link]:
    """Return the layers that feed each other with neurons side by side, so that one can be taken out of both."""
    found: list[_Link] = []
    producer: nn.Module | None = None
    between: list[nn.Module] = []
    for _, module in leaves(model):
        if is_plain(module):
            if producer is not None and _fits(producer, between, module):
                found.append(_Link(producer, tuple(between), module))
            producer, between = module, []
        elif passes(module) or _is_settled(module):
            between.append(module)
        else:
            producer = None
    return found


def _is_settled(module: nn.Module) -> bool:
    """Return whether a module is a batch normalisation that has the same numbers for all batches."""
    return isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None


def _fits(producer: nn.Module, between: list[nn.Module], consumer: nn.Module) -> bool:
    """Return whether the inputs of a layer are the neurons of the one before, in their order, or all their places."""
    outputs, inputs = n_outputs(producer), n_inputs(consumer)
    if isinstance(producer, nn.Conv2d) and isinstance(consumer, nn.Linear):
        return any(isinstance(module, nn.Flatten) for module in between) and inputs % outputs == 0
    return type(producer) is type(consumer) and inputs == outputs
