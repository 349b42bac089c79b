"""Feed-forward networks as sums of neurons: the size of each, and what is lost without the small ones."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from sparsetheory.constraints import Constraint
from sparsetheory.gpu.core.selection import check_scores

__all__ = ["THRESHOLD", "Neurons", "cett", "neuron_norms"]


class _Threshold(Constraint):
    """Numbers of at least 0, infinity among them."""

    def __str__(self) -> str:
        return "a number of at least 0"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


THRESHOLD = _Threshold()


def neuron_norms(h: Tensor, w_out: Tensor) -> Tensor:
    r"""Return the norm of what each neuron adds to the output, :math:`|h_i| \|W_{:,i}\|`.

    Parameters
    ----------
    h : Tensor of shape (..., n_neurons)
        Hidden activations, the inputs of the down projection.
    w_out : Tensor of shape (width, n_neurons)
        Weight of the down projection, as a linear layer stores it. A bias is no part of any neuron.

    Returns
    -------
    Tensor of shape (..., n_neurons)
        In single precision or wider.

    Examples
    --------
    >>> import torch
    >>> neuron_norms(torch.tensor([[2.0, -1.0]]), torch.tensor([[3.0, 0.0], [4.0, 1.0]]))
    tensor([[10.,  1.]])
    """
    x, weight = _checked(h, w_out)
    return x.abs() * weight.norm(dim=0)


def cett(h: Tensor, w_out: Tensor, eps: float) -> Tensor:
    r"""Return the share of the output of each token that neurons below a norm make together.

    The output is a sum of neurons, :math:`y = \sum_i h_i W_{:,i}`. With D the neurons whose norm is below `eps`, the
    cumulative error of tail truncation is :math:`\|\sum_{i \in D} h_i W_{:,i}\| / \|y\|`: the relative error of the
    output without them.

    Parameters
    ----------
    h : Tensor of shape (..., n_neurons)
        Hidden activations, the inputs of the down projection.
    w_out : Tensor of shape (width, n_neurons)
        Weight of the down projection, as a linear layer stores it; without its bias.
    eps : float
        Norm below which a neuron is left out, from 0 to infinity.

    Returns
    -------
    Tensor of shape (...)
        In single precision or wider. Not a number for tokens whose output is zero, as padding has it: no share of
        nothing can be told, and means have to leave these tokens out.

    Raises
    ------
    ValueError
        If shapes do not fit, or an entry is NaN.

    Notes
    -----
    Two products of ``width * n_neurons`` operations per token. Temporary memory is that of `h`.

    The value is 0 for eps = 0 and 1 once all neurons are left out. In between it may exceed 1, where neurons that are
    left out cancelled others. So it need not grow with eps, although the paper says so.

    Source: Y. Luo et al., "Sparsing Law: Towards Large Language Models with Greater Activation Sparsity", ICML 2025,
    arXiv 2411.02335.

    Examples
    --------
    >>> import torch
    >>> h, w_out = torch.tensor([[5.0, 4.0]]), torch.tensor([[1.0, -1.0]])
    >>> cett(h, w_out, 4.5)  # 5 - 4 = 1, of which -4 is left out
    tensor([4.])
    """
    THRESHOLD.require(eps=eps)
    x, weight = _checked(h, w_out)
    dropped = x.masked_fill(x.abs() * weight.norm(dim=0) >= eps, 0) @ weight.T
    whole = (x @ weight.T).norm(dim=-1)
    return torch.where(whole > 0, dropped.norm(dim=-1) / whole, torch.nan)


@dataclass(frozen=True, eq=False)
class Neurons:
    """The neurons of some tokens whose output is not zero.

    Parameters
    ----------
    h : Tensor of shape (n_tokens, n_neurons)
    w_out : Tensor of shape (width, n_neurons)
        As `h` in single precision or wider.
    """

    h: Tensor
    w_out: Tensor

    @classmethod
    def of(cls, h: Tensor, w_out: Tensor) -> Self:
        """Return the neurons of activations of shape (..., n_neurons), without tokens whose output is zero.

        Raises
        ------
        ValueError
            If shapes do not fit, an entry is NaN, or no token has an output.
        """
        x, weight = _checked(h, w_out)
        rows = x.reshape(-1, x.shape[-1])
        live = (rows @ weight.T).norm(dim=-1) > 0
        if not bool(live.any()):
            raise ValueError(f"h must hold a token whose output is not zero; got {rows.shape[0]} tokens without any")
        return cls(rows[live], weight)

    @cached_property
    def norms(self) -> Tensor:
        """Norm of each neuron, of shape (n_tokens, n_neurons)."""
        return self.h.abs() * self.w_out.norm(dim=0)

    @cached_property
    def outputs(self) -> Tensor:
        """Norm of the output of each token."""
        return (self.h @ self.w_out.T).norm(dim=-1)

    def mean_cett(self, eps: float) -> float:
        """Return the mean over tokens of what :func:`cett` gives."""
        return float(self._errors(eps).mean())

    def mean_square(self, eps: float) -> float:
        """Return the mean over tokens of its square."""
        return float(self._errors(eps).square().mean())

    def _errors(self, eps: float) -> Tensor:
        dropped = self.h.masked_fill(self.norms >= eps, 0) @ self.w_out.T
        return (dropped.norm(dim=-1) / self.outputs).double()


def _checked(h: Tensor, w_out: Tensor) -> tuple[Tensor, Tensor]:
    """Return activations and weight without gradients, in one dtype of at least single precision."""
    check_scores(h, "h")
    check_scores(w_out, "w_out")
    if w_out.ndim != 2 or h.ndim < 1 or h.shape[-1] != w_out.shape[1]:
        raise ValueError(
            "h must have shape (..., n_neurons) and w_out shape (width, n_neurons); "
            f"got {tuple(h.shape)} and {tuple(w_out.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(h.dtype, w_out.dtype), torch.float32)
    return h.detach().to(dtype), w_out.detach().to(dtype)
