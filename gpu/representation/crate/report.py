"""What each layer of a white-box transformer does to the compressed rate, and how sparse its tokens are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import POSITIVE
from sparsetheory.gpu.core.recording import check_batches, run_batches
from sparsetheory.gpu.representation.crate.blocks import CrateBlock
from sparsetheory.gpu.representation.crate.rates import compressed_rate

__all__ = ["CrateReport", "crate_report"]


@dataclass(frozen=True, eq=False)
class CrateReport:
    """Means over samples, for each layer in the order in which the layers run.

    Parameters
    ----------
    layers : tuple of str
        Names of the layers.
    rate_before : Tensor of float64 of shape (n_layers,)
        Compressed rate of the tokens that a layer gets, in its own subspaces.
    rate_after : Tensor of float64 of shape (n_layers,)
        The same after attention, in the same subspaces; not normalised, as before.
    nonzero_fraction : Tensor of float64 of shape (n_layers,)
        Share of entries of the output that are not zero.
    """

    layers: tuple[str, ...]
    rate_before: Tensor
    rate_after: Tensor
    nonzero_fraction: Tensor

    @property
    def rise(self) -> float:
        """How much attention raises the compressed rate, summed over the layers."""
        return float((self.rate_after - self.rate_before).sum())


def crate_report(model: nn.Module, batches: Iterable[Any], eps: float = 0.5) -> CrateReport:
    """Measure the compressed rate before and after the attention of each CRATE layer, and the sparsity of its output.

    Parameters
    ----------
    model : torch.nn.Module
        With some :class:`CrateBlock`. It runs in evaluation mode and without gradients; its mode is restored.
    batches : iterable
        What the model takes: a tensor, a tuple of positional arguments, or a mapping of keyword arguments. Samples of
        all batches have equal weight.
    eps : float
        Distortion of the rate, above 0.

    Returns
    -------
    CrateReport

    Raises
    ------
    TypeError
        If `batches` is a single batch.
    ValueError
        If the model has no such layer, or calls none of them.

    Notes
    -----
    Rates before and after attention are compared on the tokens themselves. After normalisation they have another
    scale, and with it another rate.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.representation import Crate
    >>> report = crate_report(Crate(8, 2, dim=16, n_layers=2), [torch.rand(3, 8, 8)])
    >>> report.layers, report.rate_after.shape
    (('blocks.0', 'blocks.1'), torch.Size([2]))
    """
    POSITIVE.require(eps=eps)
    check_batches("batches", batches)
    blocks = {name: module for name, module in model.named_modules() if isinstance(module, CrateBlock)}
    if not blocks:
        raise ValueError("model must have layers of CRATE; it has no CrateBlock")
    found: dict[str, list[Tensor]] = {}

    def hook_of(name: str) -> Any:
        def hook(block: CrateBlock, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            found.setdefault(name, []).append(_measured(block, output, eps, *args, **kwargs))

        return hook

    handles = [block.register_forward_hook(hook_of(name), with_kwargs=True) for name, block in blocks.items()]
    try:
        for _ in run_batches(model, batches):
            pass
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError("batches must reach the layers of CRATE; none was called")
    before, after, nonzero = torch.stack([torch.cat(rows).mean(0) for rows in found.values()], dim=1).cpu()
    return CrateReport(tuple(found), before, after, nonzero)


def _measured(block: CrateBlock, output: Tensor, eps: float, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return both rates and the share of nonzeros, one row per sample."""
    bases = block.attention.bases
    rates = [compressed_rate(tokens, bases, eps, mask=mask) for tokens in (x, block.compress(x, mask))]
    counted = (output != 0).double().mean(-1)
    nonzero = counted.mean(-1) if mask is None else (counted * mask).sum(-1) / mask.sum(-1)
    return torch.stack([*rates, nonzero], dim=-1).reshape(-1, 3)
