"""How weights of our own models start: one function, so that every experiment can state it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparsetheory.constraints import Choice
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["INITIALISATIONS", "initialise"]


def _he_normal(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


def _lecun_normal(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="linear", generator=generator)


def _glorot_uniform(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.xavier_uniform_(weight, generator=generator)


def _glorot_normal(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.xavier_normal_(weight, generator=generator)


def _lecun_uniform(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)


INITIALISATIONS: dict[str, Callable[[Tensor, torch.Generator], None]] = {
    "glorot_normal": _glorot_normal,
    "glorot_uniform": _glorot_uniform,
    "he_normal": _he_normal,
    "lecun_normal": _lecun_normal,
    "lecun_uniform": _lecun_uniform,
}


def initialise(model: nn.Module, initialisation: str, generator: torch.Generator | int | None = 0) -> None:
    """Draw the weights of all linear and convolutional layers anew, in place; their biases become 0.

    Parameters
    ----------
    model : torch.nn.Module
        Other parameters, as those of normalisation layers, stay.
    initialisation : str
        Distribution of the weights, all of mean 0. With ``fan_in`` inputs and ``fan_out`` outputs of a layer, the
        variance is ``2 / fan_in`` for ``"he_normal"``, ``1 / fan_in`` for ``"lecun_normal"``, ``1 / (3 fan_in)`` for
        ``"lecun_uniform"``, which is torch's own default, and ``2 / (fan_in + fan_out)`` for ``"glorot_normal"``
        and ``"glorot_uniform"``.
    generator : torch.Generator, int or None
        Draws on the CPU, layer after layer in the order of the model, so that all devices have the same weights.

    Raises
    ------
    ValueError
        If the initialisation is none of these.

    Notes
    -----
    Sources: K. He et al., "Delving Deep into Rectifiers", ICCV 2015; Y. LeCun et al., "Efficient BackProp", 1998;
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.

    Examples
    --------
    >>> from torch import nn
    >>> layer = nn.Linear(1000, 200)
    >>> initialise(layer, "he_normal")
    >>> bool(abs(layer.weight.var() * 1000 - 2) < 0.05), int(layer.bias.count_nonzero())
    (True, 0)
    """
    Choice(*INITIALISATIONS).require(initialisation=initialisation)
    draw, source = INITIALISATIONS[initialisation], cpu_generator(generator)
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            weight = torch.empty(layer.weight.shape, dtype=layer.weight.dtype)
            draw(weight, source)
            with torch.no_grad():
                layer.weight.copy_(weight)
                if layer.bias is not None:
                    layer.bias.zero_()
