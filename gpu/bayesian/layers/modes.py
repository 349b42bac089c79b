"""How the layers of a model draw noise for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sparsetheory.gpu.bayesian.layers.variational import SAMPLING, VariationalLayer
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["kl_divergence", "sampling", "variational_layers"]


def variational_layers(model: nn.Module) -> dict[str, VariationalLayer]:
    """Return the layers of a model that have normal weights, by name; a layer with several names has the first one."""
    return {name: module for name, module in model.named_modules() if isinstance(module, VariationalLayer)}


def kl_divergence(model: nn.Module, prior_std: float | None = None) -> Tensor:
    """Return the divergence of all normal weights of a model from their prior, in nats; shared layers count once.

    Parameters
    ----------
    model : torch.nn.Module
        With at least one :class:`VariationalLayer`.
    prior_std : float, optional
        Standard deviation of the prior of all layers; by default each layer has its own.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    ValueError
        If the model has no such layer, or a layer has no prior.

    Examples
    --------
    A loss in units of one sample: n / temperature times it is minus the evidence bound in nats.

    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.bayesian import bayesianise
    >>> model = bayesianise(nn.Sequential(nn.Linear(4, 3)), 0.5, dense_first=False, generator=0)
    >>> x, y, n, temperature = torch.ones(8, 4), torch.zeros(8, dtype=torch.long), 100, 0.01
    >>> loss = nn.functional.cross_entropy(model(x), y) + temperature / n * kl_divergence(model)
    """
    layers = variational_layers(model)
    if not layers:
        raise ValueError("model must have layers with normal weights, as bayesianise makes them; got none")
    return torch.stack([layer.kl(prior_std) for layer in layers.values()]).sum()


@contextmanager
def sampling(model: nn.Module, how: str, generator: torch.Generator | int | None = None) -> Iterator[nn.Module]:
    """Let all layers with normal weights draw noise in one way, while a block of code runs.

    Parameters
    ----------
    model : torch.nn.Module
        The layers get their own ways back at the end, also after an exception.
    how : {"local", "weights", "mean"}
        See :class:`VariationalLayer`.
    generator : torch.Generator or int, optional
        Source of the noise on the CPU for all layers meanwhile; by default each layer keeps its own.

    Yields
    ------
    torch.nn.Module
        The model.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.bayesian import BayesLinear
    >>> layer, x = BayesLinear(3, 2), torch.ones(1, 3)
    >>> with sampling(layer, "mean"):
    ...     print(torch.equal(layer(x), nn.functional.linear(x, layer.mean, layer.bias)))
    True
    """
    SAMPLING.check("how", how)
    source = None if generator is None else cpu_generator(generator)
    before = [(layer, layer.sampling, layer.generator) for layer in variational_layers(model).values()]
    try:
        for layer, _, own in before:
            layer.sampling, layer.generator = how, own if source is None else source
        yield model
    finally:
        for layer, way, own in before:
            layer.sampling, layer.generator = way, own
