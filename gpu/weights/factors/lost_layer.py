"""LOST: a linear layer that is trained as a product of two factors plus some whole columns.

Provenance: reconstructed from the abstract of the paper and reviews of it; no code was found. Share, rank and number of
columns were not given: the default of `gamma`, 0.7, is ours.
"""

from typing import Self

import torch
from torch import Tensor, nn

from sparsetheory.constraints import FLAG, Choice, Instance, Integer, Real
from sparsetheory.gpu.core.models.activation import activation_module
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.weights.factors.low_rank_columns import low_rank_plus_columns
from sparsetheory.gpu.weights.factors.merging import empty_linear, merged_linear

__all__ = ["LOSTLinear"]

_SHARE = Real(0.0, 1.0)


class LOSTLinear(nn.Module):
    r"""A linear layer of low rank with a nonlinearity inside, plus a few input channels that keep all their weights.

    The output is :math:`\gamma B \phi(A x) + (1 - \gamma) W_s x_I + b`. The channels I are chosen once: those that the
    best matrix of low rank misses most, see :func:`low_rank_plus_columns`. Their weights start as they are in the
    given or drawn matrix.

    The three matrices are ``inner.weight``, ``outer.weight`` and ``columns.weight``, plain parameters; the channels are
    the buffer ``channels``. The layer has ``rank (in + out) + n_channels out`` weights and as many multiplications for
    each input.

    Parameters
    ----------
    in_features, out_features : int
    rank : int
        Columns of B, from 1 to ``min(in_features, out_features) - 1``. We take a quarter of the smaller side.
    n_channels : int
        Input channels of the second part, from 1 to `in_features`. We take 5 percent of the inputs.
    gamma : float
        Share of the low-rank part, from 0 to 1. At 1 the channels are not used, and at 0 the factors are not.
    activation : {"silu", "gelu", "identity", "relu", "tanh"}
        Between the factors.
    init : {"svd", "random"}
        "svd" draws a matrix as ``nn.Linear`` does and splits it. "random" draws factors and channels instead.
    bias : bool
        Whether there is a bias; it starts at 0.
    generator : torch.Generator, int or None
        Source of the initial weights, drawn on the CPU.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    J. Li et al., "LOST: Low-rank and Sparse Pre-training for Large Language Models", arXiv 2508.02668, 2025.

    Examples
    --------
    >>> import torch
    >>> layer = LOSTLinear(64, 48, rank=12, n_channels=3, generator=0)
    >>> layer(torch.zeros(5, 64)).shape, sum(weight.numel() for weight in layer.parameters())
    (torch.Size([5, 48]), 1536)
    """

    channels: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        n_channels: int,
        *,
        gamma: float = 0.7,
        activation: str = "silu",
        init: str = "svd",
        bias: bool = True,
        generator: torch.Generator | int | None = None,
    ) -> None:
        super().__init__()
        Integer(2).require(in_features=in_features, out_features=out_features)
        Integer(1, min(in_features, out_features) - 1).check("rank", rank)
        Integer(1, in_features).check("n_channels", n_channels)
        Choice("svd", "random").check("init", init)
        self.gamma = _SHARE.check("gamma", gamma)
        self.inner = empty_linear(in_features, rank, bias=False)
        self.activation = activation_module(activation)
        self.outer = empty_linear(rank, out_features, bias=False)
        self.columns = empty_linear(n_channels, out_features, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_features)) if FLAG.check("bias", bias) else None
        self.register_buffer("channels", torch.arange(n_channels))
        source = cpu_generator(generator)
        if init == "svd":
            self._split(_drawn((out_features, in_features), source), "lost")
        else:
            self._draw(in_features, source)

    @classmethod
    def from_linear(
        cls,
        layer: nn.Linear,
        rank: int,
        n_channels: int,
        *,
        gamma: float = 0.7,
        activation: str = "silu",
        method: str = "lost",
    ) -> Self:
        """Return the layer that starts from the weight of a given one, on its device and in its dtype.

        Parameters
        ----------
        layer : torch.nn.Linear
        rank, n_channels, gamma, activation
            As in the class.
        method : {"lost", "alternating"}
            How the weight is split, see :func:`low_rank_plus_columns`.

        Returns
        -------
        LOSTLinear

        Raises
        ------
        ValueError
            If the weight is zero: both factors would be zero, and so would all their gradients.
        """
        Instance(nn.Linear).check("layer", layer)
        has_bias = layer.bias is not None
        sizes = (layer.in_features, layer.out_features, rank, n_channels)
        made = cls(*sizes, gamma=gamma, activation=activation, init="random", bias=has_bias, generator=0)
        made = made.to(layer.weight.device, layer.weight.dtype)
        made._split(layer.weight.detach(), method)
        if made.bias is not None:
            with torch.no_grad():
                made.bias.copy_(layer.bias)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of shape (..., out_features) for inputs of shape (..., in_features)."""
        parts = []
        if self.gamma > 0:
            parts.append(self.gamma * self.outer(self.activation(self.inner(x))))
        if self.gamma < 1:
            parts.append((1 - self.gamma) * self.columns(x[..., self.channels]))
        output = sum(parts[1:], start=parts[0])
        return output if self.bias is None else output + self.bias

    def extra_repr(self) -> str:
        """Return what the representation shows besides the submodules."""
        return f"gamma={self.gamma:g}"

    def merged(self) -> nn.Linear:
        """Return one dense layer with the same outputs.

        Raises
        ------
        ValueError
            If there is an activation between the factors.
        """
        if not isinstance(self.activation, nn.Identity):
            raise ValueError("activation must be 'identity' for factors to merge into one matrix")
        weight = self.gamma * (self.outer.weight @ self.inner.weight)
        return merged_linear(weight.index_add(1, self.channels, (1 - self.gamma) * self.columns.weight), self.bias)

    def _split(self, weight: Tensor, method: str) -> None:
        found = low_rank_plus_columns(weight, self.inner.out_features, len(self.channels), method)
        if not bool(found.outer.any()):
            raise ValueError("weight must not be zero: factors that are both zero have zero gradients")
        with torch.no_grad():
            self.outer.weight.copy_(found.outer)
            self.inner.weight.copy_(found.inner)
            # As published: the weights of the channels themselves, not what the low rank leaves of them.
            self.columns.weight.copy_(weight[:, found.indices])
            self.channels.copy_(found.indices)

    def _draw(self, in_features: int, generator: torch.Generator) -> None:
        with torch.no_grad():
            for part in (self.inner, self.outer, self.columns):
                part.weight.copy_(_drawn(part.weight.shape, generator))
            self.channels.copy_(torch.randperm(in_features, generator=generator)[: len(self.channels)].sort().values)


def _drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return nn.init.kaiming_uniform_(torch.empty(shape), a=5**0.5, generator=generator)
