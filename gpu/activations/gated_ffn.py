"""A gated feed-forward network for inference that skips the hidden units whose gate is zero."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.gpu.activations.skipping import check_crossing, gated_product

__all__ = ["SkippingGatedFFN"]


class SkippingGatedFFN(nn.Module):
    """The network ``down(activation(gate(x)) * up(x))``, whose two last products read only rows of active gates.

    All gates are computed. Then each token reads the share a of the two other matrices whose gates are not zero: with
    widths d and f ``2 d f (1 + 2 a)`` operations, of ``6 d f`` dense.

    Parameters
    ----------
    gate, up : Tensor of shape (hidden, width)
        Copied, as `down` is, but not trained: gradients reach the inputs alone, through dense products.
    down : Tensor of shape (width, hidden)
    activation : torch.nn.Module
        Of the gates, with exact zeros, such as :class:`FATReLU`. Others are right and save nothing.
    crossing : float, optional
        As in :func:`skipping_product`.

    Raises
    ------
    ValueError
        If shapes do not fit together.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import GatedFFN
    >>> network, x = GatedFFN(8, 20, activation="relu"), torch.randn(3, 8)
    >>> bool(torch.allclose(SkippingGatedFFN.from_dense(network)(x), network(x), atol=1e-6))
    True
    """

    gate: Tensor
    up: Tensor
    down_by_unit: Tensor

    def __init__(
        self, gate: Tensor, up: Tensor, down: Tensor, activation: nn.Module, *, crossing: float | None = None
    ) -> None:
        super().__init__()
        if gate.ndim != 2 or up.shape != gate.shape or down.shape != gate.shape[::-1]:
            shapes = ", ".join(str(tuple(part.shape)) for part in (gate, up, down))
            raise ValueError(f"gate, up and down must have shapes (f, d), (f, d) and (d, f); got {shapes}")
        self.register_buffer("gate", gate.detach().clone(memory_format=torch.contiguous_format))
        self.register_buffer("up", up.detach().clone(memory_format=torch.contiguous_format))
        self.register_buffer("down_by_unit", down.detach().T.clone(memory_format=torch.contiguous_format))
        self.activation, self.crossing = activation, check_crossing(crossing)

    @classmethod
    def from_dense(cls, network: Any, *, crossing: float | None = None) -> "SkippingGatedFFN":
        """Copy a network without biases.

        Parameters
        ----------
        network : torch.nn.Module
            A :class:`sparsetheory.gpu.core.models.GatedFFN`, or one with ``gate_proj``, ``up_proj``, ``down_proj`` and
            ``act_fn``, as those of LLaMA in transformers.
        crossing : float, optional

        Raises
        ------
        ValueError
            If the network is none of these, or has biases.
        """
        names = ("gate_proj", "up_proj", "down_proj", "act_fn")
        if not hasattr(network, names[0]):
            names = ("gate", "up", "down", "activation")
        parts: list[Any] = [getattr(network, name, None) for name in names]
        if any(part is None for part in parts) or any(getattr(part, "bias", None) is not None for part in parts[:3]):
            raise ValueError(
                f"network must have layers gate, up and down without biases, and an activation; got {network}"
            )
        gate, up, down, activation = parts
        return cls(gate.weight, up.weight, down.weight, activation, crossing=crossing)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of the shape of ``x``, (..., width)."""
        gates = self.activation(functional.linear(x, self.gate))
        return gated_product(gates, x, self.up, self.down_by_unit, crossing=self.crossing)
