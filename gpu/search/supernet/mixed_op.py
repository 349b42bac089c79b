"""One edge of a supernet: a mixture of operations, each with a weight that is learned and a cost."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.core.flops import count_flops
from sparsetheory.gpu.search.supernet.sparse_linear import SparseLinear

__all__ = ["MixedOp", "Zero"]


class Zero(nn.Module):
    """The operation that lets nothing pass, between any widths."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of shape (..., out_features)."""
        return x.new_zeros((*x.shape[:-1], self.out_features))


class MixedOp(nn.Module):
    """A mixture of operations: ``sum_o softmax(alpha)_o op_o(x)``.

    Parameters
    ----------
    ops : iterable of torch.nn.Module, or mapping of str to torch.nn.Module
        Operations on the same inputs, with outputs of one shape. Names are those of the mapping, or "0", "1" and so on.

    Attributes
    ----------
    alpha : torch.nn.Parameter of shape (n_ops,)
        Architecture parameters, which start at 0: all operations alike.
    names : tuple of str
    ops : torch.nn.ModuleList

    Raises
    ------
    ValueError
        If there is no operation but ones that let nothing pass.

    References
    ----------
    H. Liu, K. Simonyan, Y. Yang. DARTS: differentiable architecture search. ICLR 2019, arXiv 1806.09055.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.search import MixedOp
    >>> edge = MixedOp({"identity": nn.Identity(), "dense": nn.Linear(4, 4)})
    >>> with torch.no_grad():
    ...     _ = edge.alpha.copy_(torch.tensor([1000.0, 0.0]))
    >>> edge(torch.ones(1, 4))
    tensor([[1., 1., 1., 1.]], grad_fn=...)
    >>> edge.costs(4), edge.chosen
    ((0.0, 1.0), 0)
    """

    def __init__(self, ops: Iterable[nn.Module] | Mapping[str, nn.Module]) -> None:
        super().__init__()
        named = dict(ops) if isinstance(ops, Mapping) else {str(i): op for i, op in enumerate(ops)}
        if all(isinstance(op, Zero) for op in named.values()):
            raise ValueError("ops must hold an operation that lets something pass; got none: the path would be zero")
        self.names = tuple(named)
        self.ops = nn.ModuleList(named.values())
        self.alpha = nn.Parameter(torch.zeros(len(named)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixture of the outputs of all operations."""
        outputs = [op(x) for op in self.ops]
        shares = self.probabilities()
        # One shape for all: a sum would broadcast what does not fit.
        if len({output.shape for output in outputs}) > 1:
            shapes = {name: tuple(output.shape) for name, output in zip(self.names, outputs, strict=True)}
            raise ValueError(f"ops must have outputs of one shape; got {shapes}")
        mixed: Tensor = sum(share * output for share, output in zip(shares, outputs, strict=True))
        return mixed

    def probabilities(self) -> Tensor:
        """Return the softmax of alpha, of shape (n_ops,)."""
        return self.alpha.softmax(0)

    def entropy(self) -> Tensor:
        """Return the entropy of the softmax, in nats: the logarithm of n_ops at the start, 0 for a clear choice."""
        return -(self.probabilities() * self.alpha.log_softmax(0)).sum()

    @property
    def chosen(self) -> int:
        """Index of the operation of the largest alpha among those that let something pass; the first of several."""
        values = self.alpha.detach().clone()
        for number, op in enumerate(self.ops):
            if isinstance(op, Zero):
                values[number] = -torch.inf
        return int(values.argmax())

    def costs(self, in_features: int) -> tuple[float, ...]:
        """Return what each operation takes for one sample, relative to a dense linear layer between the same widths.

        Parameters
        ----------
        in_features : int
            Inputs of the edge.

        Returns
        -------
        tuple of float
            1 for a dense layer, the share of weights in use for a sparse one, 0 for identity. Zeros of other weights
            count.
        """
        x = torch.zeros(1, in_features, device=self.alpha.device, dtype=_dtype(self.ops, self.alpha))
        found = []
        for op in self.ops:
            count = count_flops(op, x, _sparse_masks(op))
            with torch.no_grad():
                out_features = op(x).shape[-1]
            found.append(count.sparse_flops / (2 * in_features * out_features))
        return tuple(found)

    def extra_repr(self) -> str:
        """Return the names of the operations."""
        return ", ".join(self.names)


def _sparse_masks(op: nn.Module) -> dict[str, Tensor]:
    """Return the masks of sparse layers within an operation, as if they acted."""
    layers: list[tuple[str, Any]] = [(name, m) for name, m in op.named_modules() if isinstance(m, SparseLinear)]
    return {f"{name}.weight" if name else "weight": layer.mask for name, layer in layers}


def _dtype(ops: nn.ModuleList, like: Tensor) -> torch.dtype:
    return next((parameter.dtype for parameter in ops.parameters()), like.dtype)
