"""Smaller branches of a residual network, by hooks: scaled outputs of normalisations, and scaled branches."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.gpu.analysis.depth.blocks import find_blocks, hidden_output, with_hidden
from sparsetheory.gpu.analysis.depth.residual_stream import is_normalisation

__all__ = ["BranchScaling", "LayerNormScaling"]


class _ScaledOutputs:
    """Outputs of modules that are multiplied by numbers, until :meth:`remove`; also for a ``with`` block."""

    def __init__(self, scales: Mapping[nn.Module, float]) -> None:
        def hook_of(scale: float) -> Callable[..., Any]:
            return lambda module, args, output: with_hidden(output, hidden_output(output) * scale)

        self._handles = [module.register_forward_hook(hook_of(scale)) for module, scale in scales.items()]

    def remove(self) -> None:
        """Take the hooks off; the model is as it was before."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class LayerNormScaling(_ScaledOutputs):
    """Scale what the normalisations of layer l give, counted from 0, by ``1 / sqrt(l + 1)``, in training and use.

    In a network that normalises before its branches, deep layers then add less, and the residual stream grows less.

    Parameters
    ----------
    model : torch.nn.Module
        Weights are not touched: forward hooks on the normalisations scale. Attach it before training and before use.
    layers : str or sequence of str, optional
        Names or shell patterns, in the order of the model; by default :func:`residual_layers`. The normalisations are
        those that are a part of a layer itself, not of a part of it, as those of queries and keys are.

    Attributes
    ----------
    scales : dict of str to float
        Factor of each layer.

    Raises
    ------
    ValueError
        If a layer has no normalisation that is a part of itself. Layers of BERT, which normalise after their branches,
        keep theirs inside the branches, and so are refused.

    Notes
    -----
    Source: W. Sun et al., "The Curse of Depth in Large Language Models", arXiv 2502.05795.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import CharacterDecoder
    >>> model = CharacterDecoder(27, width=16, n_layers=4, n_heads=2, hidden=32)
    >>> scaling = LayerNormScaling(model)
    >>> scaling.scales["blocks.3"]
    0.5
    >>> scaling.remove()
    """

    def __init__(self, model: nn.Module, layers: str | Sequence[str] | None = None) -> None:
        found = find_blocks(model, layers)
        self.scales = {name: (place + 1) ** -0.5 for place, name in enumerate(found)}
        scales: dict[nn.Module, float] = {}
        for name, layer in found.items():
            norms = [part for part in layer.children() if is_normalisation(part)]
            if not norms:
                raise ValueError(f"layers must have normalisations of their own; {name} has none")
            scales |= dict.fromkeys(norms, self.scales[name])
        super().__init__(scales)


class BranchScaling(_ScaledOutputs):
    """Multiply what the branches of layers add to the residual stream, in training and use.

    At the start of training this is what masks of density ``scale`` on two matrices of a branch do to the growth of the
    stream, so it is the control of every experiment with sparsity and depth.

    Parameters
    ----------
    model : torch.nn.Module
        Weights are not touched: forward hooks on the branches scale. Attach it before training and before use.
    scale : float
        At least 0.
    layers : str or sequence of str, optional
        Names or shell patterns; by default :func:`residual_layers`. The branches are the parts of a layer that have
        parameters and are no normalisations, such as attention and the feed-forward network.

    Raises
    ------
    ValueError
        If a layer has no such parts.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import CharacterDecoder
    >>> model = CharacterDecoder(27, width=16, n_layers=2, n_heads=2, hidden=32)
    >>> x = torch.ones(1, 4, 16)
    >>> with BranchScaling(model, 0.0):
    ...     print(torch.equal(model.blocks[0](x), x))
    True
    """

    def __init__(self, model: nn.Module, scale: float, layers: str | Sequence[str] | None = None) -> None:
        NONNEGATIVE.require(scale=scale)
        branches: list[nn.Module] = []
        for name, layer in find_blocks(model, layers).items():
            parts = [part for part in layer.children() if _is_branch(part)]
            if not parts:
                raise ValueError(f"layers must have branches, parts with parameters; {name} has none")
            branches += parts
        super().__init__(dict.fromkeys(branches, scale))


def _is_branch(part: nn.Module) -> bool:
    first: Tensor | None = next(part.parameters(), None)
    return first is not None and not is_normalisation(part)
