"""What a method keeps beside weights and moments, in the checkpoints that a training loop writes anyway."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch.optim import Optimizer

from sparsetheory.constraints import Instance

__all__ = ["attach_state"]

_OPTIMISER = Instance(Optimizer, "a torch optimiser")
_KEY = "attached"


class Stateful(Protocol):
    """An object that can be stored and continued."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        ...


def attach_state(optimizer: Optimizer, **parts: Stateful) -> Callable[[], None]:
    """Make an optimiser store and load the states of other objects with its own.

    Masks, steps and generators of a :class:`TopologyController` are needed to resume a run. Training loops that are not
    yours, such as the Trainer of transformers, store the state of the optimiser and nothing else of a run. With this
    call the states of `parts` are an entry "attached" of ``optimizer.state_dict()``, and
    ``optimizer.load_state_dict`` hands them back, after the optimiser has its own.

    A state without that entry, from a run without masks, leaves the parts as they are. A part whose name is not in it
    is left too, so a run may go on with a new part.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    **parts
        Objects with ``state_dict`` and ``load_state_dict``, by the names under which they are stored. States must
        consist of tensors, numbers, strings and containers of these, so that ``torch.load`` takes them as safe.

    Returns
    -------
    callable
        Without arguments; it takes the parts off the optimiser.

    Raises
    ------
    TypeError
        If a part cannot be stored or loaded.
    ValueError
        If `optimizer` is none, or a name is taken by an earlier call.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import TopologyController
    >>> from sparsetheory.gpu.dynamic import gradient_magnitude, magnitude
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 0.1, 0.0, 0.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.01)
    >>> masks = {weight: torch.tensor([True, True, False, False])}
    >>> controller = TopologyController(optimizer, masks, drop=magnitude, grow=gradient_magnitude, fraction=0.5)
    >>> detach = attach_state(optimizer, topology=controller)
    >>> optimizer.state_dict()["attached"]["topology"]["masks"]["mask 0"]
    tensor([ True,  True, False, False])
    """
    _OPTIMISER.check("optimizer", optimizer)
    for name, part in parts.items():
        if not (callable(getattr(part, "state_dict", None)) and callable(getattr(part, "load_state_dict", None))):
            raise TypeError(f"{name} must have state_dict and load_state_dict; got {type(part).__name__}")
    taken = parts.keys() & optimizer.state_dict().get(_KEY, {}).keys()
    if taken:
        raise ValueError(f"parts must have names of their own; got {sorted(taken)} twice")
    found: dict[str, Any] = {}

    def store(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        attached = {**state.get(_KEY, {}), **{name: part.state_dict() for name, part in parts.items()}}
        return {**state, _KEY: attached}

    def remember(optimizer: Optimizer, state: dict[str, Any]) -> None:
        found.clear()
        found.update(state.get(_KEY, {}))

    def load(optimizer: Optimizer) -> None:
        for name, part in parts.items():
            if name in found:
                part.load_state_dict(found[name])
        found.clear()

    handles = (
        optimizer.register_state_dict_post_hook(store),
        optimizer.register_load_state_dict_pre_hook(remember),
        optimizer.register_load_state_dict_post_hook(load),
    )

    def detach() -> None:
        for handle in handles:
            handle.remove()

    return detach
