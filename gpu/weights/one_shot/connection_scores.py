"""What single weights mean for the loss at the start of training: the scores of SNIP and GraSP."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sparsetheory.constraints import COUNT, MISSING, POSITIVE, SIZE
from sparsetheory.gpu.core.models.initialisation import initialise
from sparsetheory.gpu.core.recording import call_on
from sparsetheory.gpu.weights.one_shot.pruned_copies import layer_weights

__all__ = ["Loss", "grasp_scores", "snip_scores"]

Loss = Callable[[Any, Tensor], Tensor]


def snip_scores(
    model: nn.Module,
    batch: tuple[Any, Tensor],
    loss_fn: Loss,
    *,
    initialisation: str | None = None,
    random_state: int = 0,
) -> dict[str, Tensor]:
    """Compute by how much the loss changes, to first order, when single weights are masked: ``|w dL/dw|``.

    With a mask m in ``w m`` the derivative of the loss by m, at m = 1, is ``w dL/dw``.

    Parameters
    ----------
    model : torch.nn.Module
        Stays as it is, with its gradients, buffers and mode: a copy is run, in training mode.
    batch : tuple of (inputs, Tensor)
        Inputs of the model (a tensor, a tuple of positional or a mapping of keyword arguments) and targets.
    loss_fn : callable
        From the output of the model and the targets to a scalar, such as :func:`sparsetheory.gpu.core.class_loss`.
    initialisation : str, optional
        How the weights of the copy are drawn anew, see :func:`sparsetheory.gpu.core.models.initialise`; by default they
        stay.
    random_state : int
        Seed of that, and of dropout. The global generators are left as they are.

    Returns
    -------
    dict of str to Tensor
        One score per weight of each linear and convolutional layer, under the name of the parameter.

    Raises
    ------
    ValueError
        If a weight is computed from other tensors, or does not enter the loss; or `batch` is no pair.

    References
    ----------
    Lee, Ajanthan, Torr, "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019,
    arXiv:1810.02340.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 2.0]]))
    >>> snip_scores(model, (torch.tensor([[3.0, 5.0]]), torch.zeros(1)), lambda output, _: output.sum())
    {'weight': tensor([[ 3., 10.]])}
    """
    inputs, targets = _pair(batch)
    with _fresh_copy(model, initialisation, random_state) as (network, weights):
        gradients = _gradients(loss_fn(call_on(network, inputs), targets), weights)
        return {name: (w * gradients[name]).detach().abs() for name, w in weights.items()}


def grasp_scores(
    model: nn.Module,
    batch: tuple[Any, Tensor],
    loss_fn: Loss,
    *,
    n_per_class: int | None = 25,
    temperature: float = 200.0,
    initialisation: str | None = None,
    random_state: int = 0,
) -> dict[str, Tensor]:
    """Compute by how much the squared norm of the gradient falls, to first order, when single weights are removed.

    For the loss L with gradient g and Hessian H, the derivative of ``|g|^2 / 2`` by w is ``H g``. Setting one weight to
    zero changes it by ``-w (H g)``; a removal that makes the gradient smaller slows training down. So weights are kept
    whose ``w (H g)`` is largest. It may be negative. The product comes from a second backward pass, without H.

    Parameters
    ----------
    model, loss_fn, initialisation, random_state
        As for :func:`snip_scores`.
    batch : tuple of (Tensor, Tensor)
        Inputs and targets with one row per sample. They go through the model in two halves, in which classes are
        spread evenly, and gradients and Hessians of the halves are summed.
    n_per_class : int, optional
        Samples of each class, the first ones of the batch. None takes the whole batch, in its order.
    temperature : float
        By which outputs are divided before the loss, so that probabilities are far from 0 and 1.

    Returns
    -------
    dict of str to Tensor
        ``w (H g)`` for each weight of each linear and convolutional layer.

    Raises
    ------
    ValueError
        If a class has too few samples, there are fewer than 2 samples, or as in :func:`snip_scores`.

    References
    ----------
    Wang, Zhang, Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020,
    arXiv:2002.07376. Published code sorts the samples by class, so that its halves hold different classes.

    Examples
    --------
    The loss ``(3 w)^2 / 2`` at w = 2 has gradient 18 and Hessian 9; two equal halves double both:

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = model.weight.data.fill_(2.0)
    >>> data = torch.tensor([[3.0], [3.0]]), torch.zeros(2)
    >>> options = {"n_per_class": None, "temperature": 1.0}
    >>> grasp_scores(model, data, lambda output, _: output.square().mean() / 2, **options)
    {'weight': tensor([[1296.]])}
    """
    (MISSING | COUNT).require(n_per_class=n_per_class)
    POSITIVE.require(temperature=temperature)
    halves = _halves(*_pair(batch), n_per_class)
    with _fresh_copy(model, initialisation, random_state) as (network, weights), sdpa_kernel(SDPBackend.MATH):

        def gradients(half: tuple[Tensor, Tensor], **options: bool) -> dict[str, Tensor]:
            output = network(half[0])
            logits = getattr(output, "logits", output)
            return _gradients(loss_fn(logits / temperature, half[1]), weights, **options)

        whole = {name: torch.zeros_like(w) for name, w in weights.items()}
        for half in halves:
            whole = {name: whole[name] + g for name, g in gradients(half).items()}
        curved = {name: torch.zeros_like(w) for name, w in weights.items()}
        for half in halves:
            product = sum((whole[name] * g).sum() for name, g in gradients(half, create_graph=True).items())
            assert isinstance(product, Tensor)
            curved = {name: curved[name] + h for name, h in _gradients(product, weights, linear=True).items()}
        return {name: (w * curved[name]).detach() for name, w in weights.items()}


@contextmanager
def _fresh_copy(
    model: nn.Module, initialisation: str | None, random_state: int
) -> Iterator[tuple[nn.Module, dict[str, nn.Parameter]]]:
    """Yield a copy in training mode and its weights; generators are as before at the end."""
    seed = SIZE.check("random_state", random_state)
    layer_weights(model)  # Copying a computed weight would fail with a message of torch.
    network = copy.deepcopy(model).train()
    weights = layer_weights(network)
    if initialisation is not None:
        initialise(network, initialisation, seed)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for weight in weights.values():
        weight.requires_grad_(True)
    devices = sorted({weight.device.index for weight in weights.values() if weight.device.type == "cuda"})
    with torch.random.fork_rng(devices), torch.enable_grad():
        # torch.manual_seed would change the generators of all devices, of which only these are restored.
        for source in (torch.default_generator, *(torch.cuda.default_generators[device] for device in devices)):
            source.manual_seed(seed)
        yield network, weights


def _gradients(
    loss: Tensor, weights: Mapping[str, Tensor], *, create_graph: bool = False, linear: bool = False
) -> dict[str, Tensor]:
    """Return the gradient by each weight.

    Where the loss is linear in a weight, its second derivative is 0 and no graph leads there.
    """
    found = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph, allow_unused=True)
    missing = [name for name, gradient in zip(weights, found, strict=True) if gradient is None]
    if missing and not linear:
        raise ValueError(f"loss_fn must depend on all weights; got a loss without {', '.join(missing)}")
    return {
        name: torch.zeros_like(weights[name]) if gradient is None else gradient
        for name, gradient in zip(weights, found, strict=True)
    }


def _pair(batch: tuple[Any, Tensor]) -> tuple[Any, Tensor]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(f"batch must be a pair of inputs and targets; got {type(batch).__name__}")
    return batch[0], batch[1]


def _halves(inputs: Tensor, targets: Tensor, n_per_class: int | None) -> list[tuple[Tensor, Tensor]]:
    if len(inputs) != len(targets) or len(targets) < 2:
        raise ValueError(f"batch must hold 2 or more inputs and as many targets; got {len(inputs)} and {len(targets)}")
    if n_per_class is None:
        rows = torch.arange(len(targets))
    else:
        # The i-th samples of all classes follow one another, so that both halves hold all of them.
        members = [(targets == one).nonzero().squeeze(1).cpu() for one in targets.unique()]
        if few := [len(rows) for rows in members if len(rows) < n_per_class]:
            raise ValueError(f"batch must hold {n_per_class} samples of each class; got {min(few)} of one")
        rows = torch.stack([rows[:n_per_class] for rows in members], dim=1).flatten()
    middle = len(rows) // 2
    parts = rows[:middle], rows[middle:]
    return [(inputs[part.to(inputs.device)], targets[part.to(targets.device)]) for part in parts]
