"""Bayesian networks as plain ones, and training that leaves their zeros alone."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.gpu.bayesian.layers.modes import variational_layers
from sparsetheory.gpu.bayesian.turbo.export import plain_copy
from sparsetheory.gpu.core.hooks.update_gate import UpdateGate
from sparsetheory.gpu.core.layers import weight_name
from sparsetheory.gpu.core.masks import MaskSet

__all__ = ["export_plain", "freeze_pruned"]


def export_plain(model: nn.Module, masks: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return a copy of a Bayesian network with plain layers that compute with the means.

    Parameters
    ----------
    model : torch.nn.Module
        With normal weights, see :func:`bayesianise`; left as it is.
    masks : mapping of str to Tensor of bool, optional
        Which weights are kept, by names such as ``"0.weight"``, beside the masks that the layers have. Layers that are
        not named keep their own masks; by default all do.

    Returns
    -------
    torch.nn.Module
        On the same device, in the same precision and mode, and without hooks of the replaced layers or of what trains
        the model, such as an :class:`SSVIScheduler`. Its outputs are those of the network without noise under these
        masks, bit by bit; up to rounding if a linear layer multiplies on its mask alone, as :class:`BayesLinear` does
        for few weights.

    Raises
    ------
    TypeError
        If a mask does not hold booleans.
    ValueError
        If the model has no normal weights, or a mask names none or has another shape.

    See Also
    --------
    most_probable_masks, posterior_masks : What may be kept.
    sparsetheory.gpu.kernels.deploy : Layers that skip the zeros.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.bayesian import bayesianise, sampling
    >>> from sparsetheory.gpu.core.models import MLP
    >>> model = bayesianise(MLP([8, 16, 2]), 0.3, dense_first=False, generator=0)
    >>> plain, x = export_plain(model), torch.ones(5, 8)
    >>> with sampling(model, "mean"):
    ...     print(torch.equal(plain(x), model(x)), type(plain[0]).__name__)
    True Linear
    """
    layers = variational_layers(model)
    if not layers:
        raise ValueError("model must have layers with normal weights, as bayesianise makes them; got none")
    given = MaskSet(masks or {})
    kept = {weight_name(name): layer.mask for name, layer in layers.items()}
    for name, mask in given.items():
        if name not in kept or kept[name].shape != mask.shape:
            shape = tuple(kept[name].shape) if name in kept else None
            wanted = f"of shape {shape}" if shape else f"named as one of {list(kept)}"
            raise ValueError(f"masks must be those of normal weights, {wanted}; got {name!r} of {tuple(mask.shape)}")
        kept[name] = kept[name] & mask.to(kept[name].device)
    return plain_copy(model, {layer: kept[weight_name(name)] for name, layer in layers.items()})


def freeze_pruned(optimizer: Optimizer, model: nn.Module, masks: Mapping[str, Tensor] | None = None) -> UpdateGate:
    """Keep the zeros of a pruned network while it is trained on.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Of the parameters of the network; it goes on into any training loop.
    model : torch.nn.Module
        Set to zero off the masks.
    masks : mapping of str to Tensor of bool, optional
        Which weights are kept, by their names; by default those of linear and convolutional layers that are not zero.

    Returns
    -------
    UpdateGate
        Take it off with ``remove``, or use it in a ``with`` statement.

    Raises
    ------
    ValueError
        If a mask does not fit, or a weight is not one of the optimiser.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.tensor([[1.0, 0.0]]))
    >>> adam = torch.optim.Adam(model.parameters(), lr=0.1)
    >>> gate = freeze_pruned(adam, model)
    >>> model(torch.ones(1, 2)).sum().backward()
    >>> adam.step()
    >>> model.weight.detach()
    tensor([[0.9000, 0.0000]])
    """
    chosen = MaskSet.of(model) if masks is None else MaskSet(masks)
    by_parameter = chosen.by_parameter(model)
    # The gate is made first: if it cannot be, the weights are as before.
    gate = UpdateGate(optimizer, {parameter: ~mask for parameter, mask in by_parameter.items()})
    try:
        chosen.apply(model)
    except ValueError:
        gate.remove()
        raise
    return gate
