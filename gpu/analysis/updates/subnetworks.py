"""Training of a subnetwork alone."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.steps import parameters_of
from sparsetheory.gpu.core.hooks.update_gate import UpdateGate

__all__ = ["train_subnetwork"]


def train_subnetwork(optimizer: Optimizer, model: nn.Module, masks: Mapping[str, Tensor]) -> UpdateGate:
    """Let an optimiser move only the entries of a subnetwork, in the user's own loop.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any but LBFGS.
    model : torch.nn.Module
        The network that it trains.
    masks : mapping of str to Tensor of bool
        By the names of parameters, True where an entry may move: see :func:`update_mask`. Masks of buffers are passed
        over; a shared parameter needs one of its names.

    Returns
    -------
    UpdateGate
        Already installed; ``remove()``, or leaving it as a context, ends it.

    Raises
    ------
    TypeError
        If a mask does not hold booleans.
    ValueError
        If a mask has an unknown name or another shape, two masks of a shared parameter differ, a parameter of the
        optimiser has no mask or is not of the model, or the optimiser is LBFGS.

    Notes
    -----
    The run that made the mask is not replayed: the gradient of the subnetwork depends on all weights, and the frozen
    ones moved a little then, too little to be seen in the precision of the mask. Only where they truly did not move, at
    no step, both runs agree to the bit. Buffers such as running means move as ever.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> before = model.weight.detach().clone()
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    >>> with train_subnetwork(optimizer, model, {"weight": torch.tensor([[True, False]])}):
    ...     model(torch.ones(1, 2)).sum().backward()
    ...     optimizer.step()
    >>> (model.weight.detach() != before).tolist()
    [[True, False]]
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    known = [*parameters, *(name for name, _ in model.named_buffers(remove_duplicate=False))]
    unknown = [name for name in masks if name not in known]
    if unknown:
        raise ValueError(f"masks must have names of the model; unknown are {unknown}")
    names = {id(parameter): name for name, parameter in reversed(parameters.items())}
    chosen: dict[int, Tensor] = {}
    for name, mask in masks.items():
        if name in parameters:
            first = chosen.setdefault(id(parameters[name]), mask)
            if first is not mask and not torch.equal(first, mask):
                raise ValueError(f"masks must agree on a shared parameter; {name} has another one")
    trained = parameters_of(optimizer)
    if foreign := [tuple(parameter.shape) for parameter in trained if id(parameter) not in names]:
        raise ValueError(f"optimizer must train parameters of the model; others have shapes {foreign}")
    if missing := [names[id(parameter)] for parameter in trained if id(parameter) not in chosen]:
        raise ValueError(f"masks must hold every parameter that the optimiser trains; missing are {missing}")
    return UpdateGate(optimizer, {parameter: _frozen(parameter, chosen[id(parameter)]) for parameter in trained})


def _frozen(parameter: Tensor, mask: Tensor) -> Tensor:
    # Arithmetic would make other types into something that looks like a mask; the gate tells them by name.
    return ~mask.to(parameter.device) if mask.dtype == torch.bool else mask
