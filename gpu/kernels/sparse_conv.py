"""A convolution of size 1 x 1 that skips zeros, for pruned networks on a CPU."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import FLAG, Choice, Real
from sparsetheory.gpu.kernels.conversion import check_convolution, matrix
from sparsetheory.gpu.kernels.packing import BLOCK, SparseRows, choose_block, kept_entries, pack_rows
from sparsetheory.gpu.kernels.prepared import BUFFERS, Prepared
from sparsetheory.gpu.kernels.products import multiply_memory
from sparsetheory.gpu.kernels.rates import Rates, class_rates

__all__ = ["SparseConv1x1"]

_ROWS = BUFFERS[:3]
# What the arrays for the kernel are made of.
_OPERANDS = {*BUFFERS, "lower", "upper", "break_even", "in_channels", "out_channels"}
_KINDS = (torch.float32, torch.float64)
_BREAK_EVEN = Real(0.0, 1.0)
_BLOCK = Choice("auto", 1, BLOCK)


class SparseConv1x1(nn.Module):
    """Convolution of size 1 x 1 with sparse weights and a fused clamp, for inference.

    Made by :meth:`from_dense`. Images are tensors of shape (batch, channels, height, width) or without the batch, whose
    channels are contiguous. Height and width do not change.

    Which way it computes is decided at each call. On a CPU, for float32 and float64, with a density of at most
    `break_even`, a compiled kernel skips the zeros, on one thread, ``2 nnz height width`` operations per image. In all
    other cases, on another device, for another type, or for denser weights, ``torch.nn.functional.conv2d`` runs on
    dense weights, which are made at the first such call and kept; the results agree to rounding.

    Parameters
    ----------
    rows : SparseRows
        Weights, as :func:`pack_rows` makes them.
    bias : Tensor of shape (out_channels,) or None
        None for zeros.
    lower, upper : float
        Bounds of the output: 0 and 6 for ReLU6.
    break_even : float in [0, 1] or "measured"
        Density above which the product is dense. "measured" times both ways on this machine at the first call for each
        class of shapes, a fraction of a second, once per process: shapes are rounded up to powers of two. The default
        measures nothing, so that what a layer does never depends on the load of a machine.
    warn_layout : bool
        Whether to warn, once, if images have to be copied because their channels are not contiguous.

    Attributes
    ----------
    indptr, indices, values, bias : Tensor
        Buffers, and so the state of the layer; ``load_state_dict`` takes any number of weights.
    in_channels, out_channels : int
    block : int
        4 if rows come in blocks of four, otherwise 1.
    density : float
        Entries that are multiplied, those beside others in a block included, over all of the dense weight.

    Notes
    -----
    Zeros that are left out do not meet infinite inputs.

    Source: E. Elsen, M. Dukhan, T. Gale, K. Simonyan, "Fast Sparse ConvNets", CVPR 2020, arXiv 1911.09723.

    Examples
    --------
    >>> import torch
    >>> dense = torch.nn.Conv2d(16, 8, 1)
    >>> layer = SparseConv1x1.from_dense(dense, dense.weight.abs() > 0.15, lower=0.0, upper=6.0)
    >>> layer(torch.ones(2, 16, 5, 5)).shape
    torch.Size([2, 8, 5, 5])
    """

    indptr: Tensor
    indices: Tensor
    values: Tensor
    bias: Tensor
    _weight: tuple[tuple[int, ...], Tensor] | None
    _prepared: Prepared | None
    _is_sparse: bool
    _warned: bool
    # What errors call the input.
    _input = "images"

    def __init__(
        self,
        rows: SparseRows,
        bias: Tensor | None = None,
        *,
        lower: float = -np.inf,
        upper: float = np.inf,
        break_even: Any = 0.5,
        warn_layout: bool = True,
    ) -> None:
        super().__init__()
        if break_even != "measured":
            _BREAK_EVEN.check("break_even", break_even)
        if not lower <= upper:
            raise ValueError(f"lower must be at most upper; got {lower!r} and {upper!r}")
        self.out_channels, self.in_channels = rows.shape
        self.lower, self.upper, self.break_even = float(lower), float(upper), break_even
        self.warn_layout = FLAG.check("warn_layout", warn_layout)
        if bias is None:
            bias = rows.values.new_zeros(self.out_channels)
        if bias.shape != (self.out_channels,):
            raise ValueError(f"bias must have shape ({self.out_channels},); got {tuple(bias.shape)}")
        for name in _ROWS:
            self.register_buffer(name, getattr(rows, name))
        self.register_buffer("bias", bias.detach().to(rows.values, copy=True))
        self._warned = False
        self._forget()

    @classmethod
    def from_dense(
        cls,
        dense: nn.Conv2d | Tensor,
        mask: Tensor | None = None,
        *,
        block: Any = "auto",
        bias: Tensor | None = None,
        lower: float = -np.inf,
        upper: float = np.inf,
        break_even: Any = 0.5,
        warn_layout: bool = True,
    ) -> "SparseConv1x1":
        """Make the layer from a dense one.

        Parameters
        ----------
        dense : Conv2d or Tensor of shape (out_channels, in_channels) or (out_channels, in_channels, 1, 1)
            A convolution of size 1 x 1 and stride 1, without groups and padding, or its weight.
        mask : Tensor of bool of the shape of the weight or None
            What is kept; None for all that is not zero.
        block : "auto", 1 or 4
            Rows that share their columns; "auto" for what :func:`choose_block` finds.
        bias : Tensor of shape (out_channels,) or None
            None for that of the convolution, or zeros.
        lower, upper, break_even, warn_layout
            As in the constructor.

        Returns
        -------
        SparseConv1x1
            With copies, on the device and of the type of the weight.

        Raises
        ------
        ValueError
            If the convolution is of another kind, a shape does not fit, or a weight is not finite.
        """
        _BLOCK.check("block", block)
        if isinstance(dense, nn.Module):
            check_convolution(dense)
            bias = dense.bias if bias is None else bias
        weight = matrix("dense", dense.weight if isinstance(dense, nn.Conv2d) else dense)
        if not weight.is_floating_point() or not bool(weight.isfinite().all()):
            raise ValueError("dense must have finite weights of a floating-point type")
        if mask is not None:
            mask = matrix("mask", mask)
        if block == "auto":
            block = choose_block(kept_entries(weight, mask))
        rows = pack_rows(weight, mask, block)
        return cls(rows, bias, lower=lower, upper=upper, break_even=break_even, warn_layout=warn_layout)

    @property
    def n_blocks(self) -> int:
        """Blocks of four rows."""
        return self._rows().n_blocks

    @property
    def block(self) -> int:
        """Rows that share their columns."""
        return BLOCK if self.n_blocks else 1

    @property
    def density(self) -> float:
        """Share of the dense weight that is multiplied."""
        return self.values.numel() / max(self.out_channels * self.in_channels, 1)

    def to_dense(self) -> Tensor:
        """Return the weight, of shape (out_channels, in_channels, 1, 1)."""
        return self._rows().to_dense()[:, :, None, None]

    def forward(self, images: Tensor) -> Tensor:
        """Return the clamped convolution, contiguous and of the type of the images.

        Parameters
        ----------
        images : Tensor of shape (batch, in_channels, height, width) or (in_channels, height, width)

        Returns
        -------
        Tensor of shape (batch, out_channels, height, width) or (out_channels, height, width)

        Raises
        ------
        ValueError
            If shape, type or device do not fit.
        RuntimeError
            If a gradient would be needed: there is none.
        """
        shape = images.shape
        prepared = self._prepared
        if prepared is not None and self._is_routine(images, shape, prepared):
            return self._multiply(images, shape, prepared)
        self._check(images, shape)
        if not images.is_contiguous():
            self._warn_of_copies()
            images = images.contiguous()
        if self._skips_zeros(images):
            return self._multiply(images, shape, self._current())
        weight = self._dense()[:, :, None, None]
        return functional.conv2d(images, weight, self.bias).clamp(self.lower, self.upper)

    def extra_repr(self) -> str:
        """Return what is printed within the brackets."""
        bounds = "" if self.lower == -np.inf and self.upper == np.inf else f", clamp=[{self.lower:g}, {self.upper:g}]"
        return f"{self.in_channels}, {self.out_channels}, density={self.density:.3g}, block={self.block}{bounds}"

    def _rows(self) -> SparseRows:
        return SparseRows(self.indptr, self.indices, self.values, (self.out_channels, self.in_channels))

    def _current(self) -> Prepared:
        """Return what the kernel reads, made anew if the buffers have changed."""
        if self._prepared is None or not self._prepared.is_current(self._buffers):
            bounds = self.lower, self.upper
            self._prepared = Prepared(self._buffers, self.n_blocks, bounds, self.in_channels)
        return self._prepared

    def _is_routine(self, images: Tensor, shape: torch.Size, prepared: Prepared) -> bool:
        """Whether all checks would pass and the kernel do it, which takes a third of their time to find out."""
        return (
            len(shape) == 4
            and shape[1] == self.in_channels
            and images.dtype is prepared.dtype
            and images.is_cpu
            and images.is_contiguous()
            and self._is_sparse
            and prepared.is_current(self._buffers)
            and not torch.is_grad_enabled()
            and not torch.jit.is_tracing()
        )

    def _check(self, images: Tensor, shape: torch.Size) -> None:
        values = self.values
        if torch.is_grad_enabled() and any(each.requires_grad for each in (images, values, self.bias)):
            raise RuntimeError(
                f"{type(self).__name__} has no gradient: call it under torch.no_grad() or torch.inference_mode(), or "
                "keep the dense layer while training"
            )
        if len(shape) not in (3, 4) or shape[-3] != self.in_channels:
            raise ValueError(f"images must have shape (batch, {self.in_channels}, height, width); got {tuple(shape)}")
        if images.dtype is not values.dtype or images.device != values.device:
            raise ValueError(
                f"{self._input} must be of {values.dtype} on {values.device}, as the weights are; got {images.dtype} "
                f"on {images.device}"
            )

    def _warn_of_copies(self) -> None:
        if self.warn_layout and not self._warned:
            self._warned = True
            warnings.warn(
                "images are copied, because their channels are not contiguous (channels_last or a view); "
                "warn_layout=False silences this",
                RuntimeWarning,
                stacklevel=4,
            )

    def _skips_zeros(self, images: Tensor) -> bool:
        """Whether the kernel does it; a trace would not record what it writes."""
        if not images.is_cpu or images.dtype not in _KINDS or torch.jit.is_tracing():
            return False
        if self.break_even != "measured":
            self._is_sparse = self.values.numel() <= self.break_even * self.out_channels * self.in_channels
            return self._is_sparse
        n_positions = images.shape[-2] * images.shape[-1]
        rates = self._rates(n_positions, images.dtype)
        return self.density <= rates.break_even(self.block)

    def _rates(self, n_positions: int, dtype: torch.dtype) -> Rates:
        return class_rates(self.out_channels, self.in_channels, n_positions, dtype)

    def _multiply(self, images: Tensor, shape: torch.Size, prepared: Prepared) -> Tensor:
        out = images.new_empty((*shape[:-3], self.out_channels, *shape[-2:]))
        if not out.numel():
            return out
        if not images.numel():
            return out.copy_(self.bias.clamp(self.lower, self.upper)[:, None, None])
        # Numbers may have a bit that says that they are negated.
        source = images.resolve_neg() if images.is_neg() else images
        n_images = shape[0] if len(shape) == 4 else 1
        multiply_memory(prepared.given, source.data_ptr(), n_images, shape[-2] * shape[-1], out.data_ptr())
        return out

    def _dense(self) -> Tensor:
        """Return the weight, of shape (out_channels, in_channels), which is kept until the buffers change."""
        if torch.jit.is_tracing():
            return self._rows().to_dense()
        # Tensors made in inference mode count no changes.
        tensors = [getattr(self, name) for name in _ROWS]
        state = tuple(n for each in tensors for n in (id(each), -1 if each.is_inference() else each._version))
        if self._weight is None or self._weight[0] != state:
            self._weight = state, self._rows().to_dense()
        return self._weight[1]

    def _forget(self) -> None:
        """Forget what was made of the buffers."""
        self._weight = None
        self._prepared = None
        self._is_sparse = False

    def __getstate__(self) -> dict[str, Any]:
        # Arrays of a copy would no longer be those of its buffers.
        return {**self.__dict__, "_weight": None, "_prepared": None}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _OPERANDS:
            self._forget()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SparseConv1x1":
        super()._apply(fn, recurse)
        self._forget()
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        for name in _ROWS:
            loaded = state_dict.get(prefix + name)
            if loaded is not None:
                setattr(self, name, getattr(self, name).new_empty(loaded.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._forget()
