"""What a sparse convolution is made from: a dense one, or its weight."""

from typing import Any, TypeGuard

from torch import Tensor, nn

__all__ = ["check_convolution", "is_convolution", "matrix"]


def is_convolution(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a layer computes as torch.nn.Conv2d does: a derived class may standardise its weight first."""
    own: Any = type(layer)
    return (
        isinstance(layer, nn.Conv2d)
        and own.forward is nn.Conv2d.forward
        and own._conv_forward is nn.Conv2d._conv_forward
    )


def check_convolution(dense: nn.Module) -> None:
    """Raise ValueError, which names what is wrong, unless a layer is a plain convolution of size 1 x 1."""
    if not isinstance(dense, nn.Conv2d):
        raise ValueError(f"dense must be a torch.nn.Conv2d or its weight; got {type(dense).__name__}")
    if not is_convolution(dense):
        raise ValueError(
            f"dense must compute as torch.nn.Conv2d does; got {type(dense).__name__}, which has its own way"
        )
    for name, wanted in (("kernel_size", (1, 1)), ("stride", (1, 1)), ("groups", 1)):
        if getattr(dense, name) != wanted:
            raise ValueError(f"dense must have {name}={wanted}; got {getattr(dense, name)}")
    if dense.padding not in ((0, 0), "valid", "same"):
        raise ValueError(f"dense must have padding=(0, 0); got {dense.padding}")


def matrix(name: str, weight: Tensor) -> Tensor:
    """Return a weight, or a mask of one, as a matrix; errors call it `name`."""
    if not isinstance(weight, Tensor) or weight.ndim not in (2, 4) or weight.shape[2:] not in ((), (1, 1)):
        got = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise ValueError(
            f"{name} must have shape (out_channels, in_channels) or (out_channels, in_channels, 1, 1); got {got}"
        )
    return weight.detach().reshape(weight.shape[:2])
