"""Activation functions of our own models, by name."""

from collections.abc import Callable

from torch import nn

from sparsetheory.constraints import Choice

__all__ = ["ACTIVATIONS", "activation_module"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation_module(activation: str) -> nn.Module:
    """Return a new module, so that hooks and replacements reach each place of a model by itself."""
    Choice(*ACTIVATIONS).require(activation=activation)
    return ACTIVATIONS[activation]()
