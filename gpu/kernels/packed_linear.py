"""A linear layer that skips zeros, for pruned networks on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.gpu.kernels.rates import Rates, class_rates
from sparsetheory.gpu.kernels.sparse_conv import SparseConv1x1

__all__ = ["PackedLinear"]


class PackedLinear(SparseConv1x1):
    """Linear layer with sparse weights and a fused clamp, for inference.

    A linear layer is a convolution of size 1 x 1 whose positions are the samples of the batch. So they lie side by side
    in memory, and the inputs one behind the other: an input is transposed first, unless the layer before has left it
    so, as this layer and all functions of single entries do. Within a network there is one transposition, at its start.

    Made by :meth:`from_dense`. How it computes, parameters and attributes are those of :class:`SparseConv1x1`; where
    that is dense, it is as a linear layer. With a "measured" `break_even` the sizes of classes are those of batches, a
    single sample among them.

    Notes
    -----
    Time is that of ``2 nnz n`` operations for n samples; 16 of them and more fill the registers of a processor.

    Source: E. Elsen, M. Dukhan, T. Gale, K. Simonyan, "Fast Sparse ConvNets", CVPR 2020, arXiv 1911.09723, for the
    kernel.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> dense, x = nn.Linear(16, 8), torch.randn(5, 16)
    >>> mask = dense.weight.abs() > 0.15
    >>> layer = PackedLinear.from_dense(dense, mask)
    >>> with torch.inference_mode():
    ...     print(torch.allclose(layer(x), nn.functional.linear(x, dense.weight * mask, dense.bias), atol=1e-6))
    True
    """

    _input = "x"

    @classmethod
    def from_dense(
        cls, dense: Any, mask: Tensor | None = None, *, bias: Tensor | None = None, **options: Any
    ) -> "PackedLinear":
        """Make the layer from a dense one.

        Parameters
        ----------
        dense : Linear or Tensor of shape (out, in)
            A linear layer, or a weight.
        mask : Tensor of bool of the shape of the weight or None
            What is kept; None for all that is not zero.
        bias : Tensor of shape (out,) or None
            None for that of the layer, or zeros.
        **options
            As :meth:`SparseConv1x1.from_dense` takes them.

        Returns
        -------
        PackedLinear
            With copies, on the device and of the type of the weight.

        Raises
        ------
        ValueError
            If `dense` is no linear layer, a shape does not fit, or a weight is not finite.
        """
        if isinstance(dense, nn.Linear):
            dense, bias = dense.weight, dense.bias if bias is None else bias
        if not isinstance(dense, Tensor) or dense.ndim != 2:
            got = tuple(dense.shape) if isinstance(dense, Tensor) else type(dense).__name__
            raise ValueError(f"dense must be a torch.nn.Linear or a weight of shape (out, in); got {got}")
        made = super().from_dense(dense, mask, bias=bias, **options)
        assert isinstance(made, cls)
        return made

    @property
    def in_features(self) -> int:
        """Length of an input."""
        return int(self.in_channels)

    @property
    def out_features(self) -> int:
        """Length of an output."""
        return int(self.out_channels)

    @property
    def weight(self) -> Tensor:
        """The dense weight, made anew at each call, for modules that look into the layers they contain."""
        return self.to_dense()

    def to_dense(self) -> Tensor:
        """Return the weight, of shape (out, in)."""
        return self._rows().to_dense()

    def forward(self, x: Tensor) -> Tensor:
        """Return the clamped product, of the type of the input.

        Parameters
        ----------
        x : Tensor of shape (..., in)

        Returns
        -------
        Tensor of shape (..., out)
            Where zeros are skipped, a view, whose samples lie side by side in memory.

        Raises
        ------
        ValueError
            If shape, type or device do not fit.
        RuntimeError
            If a gradient would be needed: there is none.
        """
        if not x.ndim or x.shape[-1] != self.in_channels:
            raise ValueError(f"x must have shape (..., {self.in_channels}); got {tuple(x.shape)}")
        samples = x.reshape(-1, self.in_channels)
        if not len(samples):
            return x.new_empty(*x.shape[:-1], self.out_channels)
        columns = samples.T[None, :, None]
        self._check(columns, columns.shape)
        if not self._skips_zeros(columns):
            return functional.linear(x, self._dense(), self.bias).clamp(self.lower, self.upper)
        columns = columns.contiguous()
        out = self._multiply(columns, columns.shape, self._current()).view(self.out_channels, len(samples))
        return out.T.unflatten(0, x.shape[:-1]) if x.ndim > 1 else out[:, 0]

    def _rates(self, n_positions: int, dtype: torch.dtype) -> Rates:
        return class_rates(self.out_channels, self.in_channels, n_positions, dtype, samples=True)
