"""A linear layer that takes only selected entries of its input, and what may stand in for the others."""

from typing import Self

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.activations.selectors import Selector
from sparsetheory.gpu.activations.skipping import check_crossing, skipping_product

__all__ = ["SparseLinear", "SvdResidual"]


class SparseLinear(nn.Module):
    """The layer ``W (x * mask) + residual((1 - mask) * x) + bias``, with a mask that a selector makes of x.

    Parameters
    ----------
    weight : Tensor of shape (out, in)
        The matrix W; copied, with one row for each input.
    selector : callable
        From inputs of shape (..., in) to a mask of their shape, as in :mod:`sparsetheory.gpu.activations.selectors`.
    residual : torch.nn.Module, optional
        From what was not selected, of shape (..., in), to what it adds to the output; :class:`SvdResidual` for example.
        By default nothing.
    bias : Tensor of shape (out,), optional
    crossing : float, optional
        As in :func:`skipping_product`: up to which share of active inputs rows of W are skipped, in inference on the
        CPU. A mask without skipping saves no time.

    Raises
    ------
    ValueError
        If shapes do not fit together.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.activations import ReluThreshold
    >>> layer = SparseLinear(torch.tensor([[1.0, 10.0]]), ReluThreshold(0.5))
    >>> layer(torch.tensor([[0.4, 2.0], [3.0, -1.0]])).tolist()
    [[20.0], [3.0]]
    """

    def __init__(
        self,
        weight: Tensor,
        selector: Selector,
        residual: nn.Module | None = None,
        bias: Tensor | None = None,
        *,
        crossing: float | None = None,
    ) -> None:
        super().__init__()
        if weight.ndim != 2:
            raise ValueError(f"weight must be a matrix; got shape {tuple(weight.shape)}")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ValueError(f"bias must have shape ({weight.shape[0]},); got {tuple(bias.shape)}")
        self.selector, self.residual, self.crossing = selector, residual, check_crossing(crossing)
        rows = weight.detach().T.clone(memory_format=torch.contiguous_format)
        self.by_input = nn.Parameter(rows, requires_grad=weight.requires_grad)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)

    @property
    def weight(self) -> Tensor:
        """The matrix W of shape (out, in), a view."""
        return self.by_input.T

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of shape (..., out) for inputs of shape (..., in)."""
        mask = self.selector(x)
        y = skipping_product(x.masked_fill(~mask, 0), self.by_input, crossing=self.crossing)
        if self.residual is not None:
            y = y + self.residual(x.masked_fill(mask, 0))
        return y if self.bias is None else y + self.bias


class SvdResidual(nn.Module):
    """The best approximation of a matrix by one of low rank, as a layer without bias.

    Parameters
    ----------
    weight : Tensor of shape (out, in)
    rank : int
        From 1 to the smaller side.

    Notes
    -----
    What a :class:`SparseLinear` with this residual loses is ``(W - W_r) ((1 - mask) * x)``. As ``W - W_r`` is a
    projection of W, the residual never makes the error of an output larger in the Euclidean norm.

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([[2.0, 4.0], [1.0, 2.0]])
    >>> bool(torch.allclose(SvdResidual(weight, 1)(torch.eye(2)), weight.T, atol=1e-6))
    True
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        COUNT.require(rank=rank)
        if weight.ndim != 2 or rank > min(weight.shape):
            raise ValueError(f"rank must be at most the smaller side of weight; got {rank} for {tuple(weight.shape)}")
        # Decomposed in at least single precision, as torch requires.
        u, s, v = torch.linalg.svd(
            weight.detach().to(torch.promote_types(weight.dtype, torch.float32)), full_matrices=False
        )
        self.left = nn.Parameter((u[:, :rank] * s[:rank]).to(weight.dtype), requires_grad=weight.requires_grad)
        self.right = nn.Parameter(v[:rank].to(weight.dtype).contiguous(), requires_grad=weight.requires_grad)

    @classmethod
    def from_factors(cls, left: Tensor, right: Tensor) -> Self:
        """Return the layer of a product that is known already.

        Parameters
        ----------
        left : Tensor of shape (out, rank)
        right : Tensor of shape (rank, in)

        Returns
        -------
        SvdResidual

        Raises
        ------
        ValueError
            If the shapes do not fit together, or the rank is 0.
        """
        if left.ndim != 2 or right.ndim != 2 or not left.shape[1] == right.shape[0] > 0:
            raise ValueError(
                f"left and right must be matrices of one rank; got shapes {tuple(left.shape)} and {tuple(right.shape)}"
            )
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.left = nn.Parameter(left.detach().clone(), requires_grad=left.requires_grad)
        made.right = nn.Parameter(right.detach().clone(), requires_grad=right.requires_grad)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of shape (..., out) for inputs of shape (..., in)."""
        return x @ self.right.T @ self.left.T
