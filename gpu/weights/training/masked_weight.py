"""What a weight that is sparse while it is trained has in common: a mask, a weight to deploy, and steps."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

__all__ = ["MaskedWeight", "Parametrised", "parametrised_weights", "weight_shape"]


class MaskedWeight(nn.Module, ABC):
    """Base of the parametrisations of a weight that ends sparse.

    While training, a layer computes with :meth:`soft` of the stored weight. What is shipped is :meth:`deployed`, which
    is zero off :meth:`mask`. The two may differ: always judge a model by the second, see :func:`hard_masked`.

    A method of your own is a subclass with :meth:`mask` and :meth:`soft`, through which gradients reach the stored
    weight. All other methods have defaults. Make parameters and buffers of the method in its constructor, and attach
    one to each weight by ``sparsify(model, lambda weight: Method(...))``.

    Attributes
    ----------
    step : int
        Optimiser steps that have been done, as :class:`StepCounter` counts them. It is part of the state dict.
    hard : bool
        Whether the layer computes with the weight to deploy.
    trains_weight : bool
        Whether the stored weight and the bias are trained; otherwise :func:`sparsify` freezes them.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.weights import finalize, sparsify
    >>> class Above(MaskedWeight):
    ...     def __init__(self, threshold):
    ...         super().__init__()
    ...         self.threshold = threshold
    ...
    ...     def mask(self, weight):
    ...         return weight.abs() > self.threshold
    ...
    ...     def soft(self, weight):
    ...         return weight * self.mask(weight)
    >>> model = nn.Linear(2, 2)
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.tensor([[1.0, 0.1], [0.2, 2.0]]))
    >>> sparsify(model, lambda weight: Above(0.5))
    MaskSet(1 masks, 2 of 4 entries kept)
    >>> model(torch.ones(1, 2)).sum().backward()
    >>> finalize(model), model.weight.detach()
    (MaskSet(1 masks, 2 of 4 entries kept), tensor([[1., 0.],
            [0., 2.]]))
    """

    trains_weight = True

    def __init__(self) -> None:
        super().__init__()
        self.step = 0
        self.hard = False
        # Set by `sparsify`: how the layer stores its weight, how errors call it, and what was trained before.
        self.transposed = False
        self.weight_name = "weight"
        self.frozen_leaves: list[str] = []

    @abstractmethod
    def mask(self, weight: Tensor) -> Tensor:
        """Return which entries of the stored weight are kept now."""

    @abstractmethod
    def soft(self, weight: Tensor) -> Tensor:
        """Return the weight that the layer computes with while training."""

    def check_shape(self, shape: torch.Size) -> None:
        """Raise ValueError where a weight of this shape cannot have such a mask."""

    def place(self, weight: Tensor) -> None:
        """Bring own parameters to the device of a weight, and to its dtype where a method does not need another."""
        self.to(weight)

    def join(self, optimizer: Optimizer, stored: Tensor) -> None:
        """Take note of the optimiser whose steps are counted and of the stored weight; refuse what cannot work.

        That is an optimiser which trains none of the parameters of the method.
        """
        own = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if own and trained.isdisjoint(map(id, own.values())):
            raise ValueError(f"optimizer must train the {', '.join(own)} of {self.weight_name}; make it after sparsify")

    def before_step(self, scale: Tensor | None) -> None:
        """Act on the complete gradients of own parameters; `scale` is what they are still multiplied by, if so."""

    def inspect(self, weight: Tensor) -> None:
        """Warn of what went wrong while training, before the weight becomes a plain one."""

    @property
    def scheduled(self) -> bool:
        """Whether a schedule changes the weight or its mask from step to step, which needs a :class:`StepCounter`."""
        return False

    def latest_mask(self, weight: Tensor) -> Tensor:
        """Return :meth:`mask`, which a method may remember from the last forward pass."""
        return self.mask(weight)

    def deployed(self, weight: Tensor) -> Tensor:
        """Return the weight to ship: exactly zero off the mask."""
        return torch.where(self.mask(weight), weight, torch.zeros_like(weight))

    def advance(self) -> None:
        """Take note of one more optimiser step."""
        self.step += 1

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight that the layer computes with."""
        return self.deployed(weight) if self.hard else self.soft(weight)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return what to store when a weight is assigned: the weight itself."""
        return weight

    def get_extra_state(self) -> Tensor:
        """Return the step, as a tensor: files of weights hold nothing else."""
        return torch.tensor(self.step)

    def set_extra_state(self, state: Any) -> None:
        """Continue from a step."""
        self.step = int(state)


def weight_shape(shape: Sequence[int]) -> torch.Size:
    """Return the shape of a weight that a method is made for, checked."""
    if isinstance(shape, Tensor) or not isinstance(shape, Sequence):
        raise TypeError(f"shape must be that of a weight, as weight.shape; got {type(shape).__name__}")
    if len(shape) < 2:
        raise ValueError(f"shape must have at least two axes; got {tuple(shape)}")
    return torch.Size(shape)


@dataclass(frozen=True)
class Parametrised:
    """A weight that is computed by parametrisations.

    Parameters
    ----------
    name : str
        Of the weight, as ``"0.weight"``.
    layer : Module
    leaf : str
        Name of the weight in the layer.
    """

    name: str
    layer: nn.Module
    leaf: str

    @property
    def steps(self) -> list[nn.Module]:
        """The parametrisations, in the order in which they act."""
        lists = self.layer.parametrizations
        assert isinstance(lists, nn.ModuleDict)
        found = lists[self.leaf]
        assert isinstance(found, nn.ModuleList)
        return list(found)

    @property
    def masked(self) -> MaskedWeight | None:
        """The parametrisation that masks the weight, if there is one."""
        return next((step for step in self.steps if isinstance(step, MaskedWeight)), None)

    @property
    def stored(self) -> Tensor:
        """The tensor that the parametrisations start from."""
        lists = self.layer.parametrizations
        assert isinstance(lists, nn.ModuleDict)
        original = lists[self.leaf].original
        assert isinstance(original, Tensor)
        return original

    @torch.no_grad()
    def mask(self, *, latest: bool = False) -> Tensor:
        """Return the present mask, for the value that reaches the masking parametrisation.

        With `latest` it may be that of the last forward pass, which is the same within a step of training.
        """
        value = self.stored
        for step in self.steps:
            if isinstance(step, MaskedWeight):
                return step.latest_mask(value) if latest else step.mask(value)
            value = step(value)
        raise ValueError(f"{self.name} has no mask")

    @torch.no_grad()
    def deployed(self) -> Tensor:
        """Return the weight to ship."""
        value = self.stored
        for step in self.steps:
            value = step.deployed(value) if isinstance(step, MaskedWeight) else step(value)
        return value


def parametrised_weights(model: nn.Module) -> Iterator[Parametrised]:
    """Yield the weights of a model that parametrisations make of one stored tensor each, in the order of the model."""
    for prefix, layer in model.named_modules():
        if not parametrize.is_parametrized(layer):
            continue
        lists = layer.parametrizations
        assert isinstance(lists, nn.ModuleDict)
        for leaf, steps in lists.items():
            if isinstance(getattr(steps, "original", None), Tensor):
                yield Parametrised(f"{prefix}.{leaf}" if prefix else leaf, layer, leaf)
