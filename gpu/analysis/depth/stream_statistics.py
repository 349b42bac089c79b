"""How the residual stream of a network grows and turns from layer to layer."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.gpu.analysis.depth.blocks import find_blocks
from sparsetheory.gpu.analysis.depth.residual_stream import LayerCall, Mask, observe_stream

__all__ = ["ResidualStatistics", "StreamRecorder", "residual_statistics"]


@dataclass(frozen=True, eq=False)
class ResidualStatistics:
    """The residual stream around each layer; all tensors are float64 on the CPU.

    Layer l turns the residual stream h_l into h_(l+1) and adds Delta_l, their difference. Variances are over features.

    Parameters
    ----------
    layers : tuple of str
        Names.
    variance : Tensor of shape (n_layers + 1,)
        Variance of h_l, averaged over tokens: before each layer, and after the last one.
    median_variance : Tensor of shape (n_layers + 1,)
        The same with the lower median over tokens, as a few of them may be larger by orders of magnitude.
    branch_variance : Tensor of shape (n_layers,)
        Variance of Delta_l, averaged over tokens.
    covariance : Tensor of shape (n_layers,)
        Covariance of h_l and Delta_l, averaged over tokens. Over a layer `variance` grows by
        ``branch_variance + 2 * covariance``.
    cosine : Tensor of shape (n_layers,)
        Cosine of h_l and h_(l+1), averaged over tokens. One minus it is the block influence of ShortGPT.
    relative_contribution : Tensor of shape (n_layers,)
        ``|Delta_l| / |h_l|``, averaged over tokens.
    """

    layers: tuple[str, ...]
    variance: Tensor
    median_variance: Tensor
    branch_variance: Tensor
    covariance: Tensor
    cosine: Tensor
    relative_contribution: Tensor


def residual_statistics(
    model: nn.Module, batch: Any, layers: str | Sequence[str] | None = None, mask: Mask | None = None
) -> ResidualStatistics:
    """Return how the residual stream grows and turns from layer to layer, from one forward pass.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode and without gradients; its mode is restored. Models of ``transformers`` run without a
        cache.
    batch
        A tensor, a tuple of positional or a mapping of keyword arguments.
    layers : str or sequence of str, optional
        Names or shell patterns; by default :func:`residual_layers`.
    mask : callable, optional
        From a batch to the tensor that is not zero where a token counts; by default the attention mask of a mapping.

    Returns
    -------
    ResidualStatistics

    Warns
    -----
    UserWarning
        If layers end with a normalisation, so that the stream does not grow.

    Raises
    ------
    ValueError
        If a layer occurs in several places, is not called once or does not keep the shape, the batch holds a cache, or
        no token counts.

    See Also
    --------
    depth_report : These numbers and what each layer matters to others.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> model[0].weight.data, model[0].bias.data = 2 * torch.eye(2), torch.zeros(2)
    >>> found = residual_statistics(model, torch.tensor([[1.0, 3.0]]))
    >>> found.variance[:2].tolist(), found.relative_contribution[0].item()
    ([1.0, 4.0], 1.0)
    """
    found, recorder = find_blocks(model, layers), StreamRecorder()
    observe_stream(model, found, batch, recorder.record, mask)
    return ResidualStatistics(tuple(found), **recorder.finish())


class StreamRecorder:
    """Statistics of the stream, taken call by call while a model runs."""

    def __init__(self) -> None:
        self._numbers: list[dict[str, float]] = []
        self._post_norm: list[str] = []

    def record(self, name: str, call: LayerCall) -> None:
        """Take the statistics of one call of a layer, in double precision."""
        if not len(call.x):
            raise ValueError("batch must hold at least one token that counts; got none")
        x, added = call.x.double(), call.added.double()
        y = x + added
        before, after = (part.var(dim=1, correction=0) for part in (x, y))
        centred = (x - x.mean(1, keepdim=True)) * (added - added.mean(1, keepdim=True))
        # A layer that adds nothing turns nothing, also where the stream is zero.
        idle = added.norm(dim=1) == 0
        cosine = functional.cosine_similarity(x, y, dim=1, eps=torch.finfo(torch.float64).tiny)
        numbers = {
            "variance": before.mean(),
            "median_variance": before.median(),
            "last_variance": after.mean(),
            "last_median_variance": after.median(),
            "branch_variance": added.var(dim=1, correction=0).mean(),
            "covariance": centred.mean(),
            "cosine": cosine.masked_fill(idle, 1.0).mean(),
            "relative_contribution": (added.norm(dim=1) / x.norm(dim=1)).masked_fill(idle, 0.0).mean(),
        }
        self._numbers.append({key: float(value) for key, value in numbers.items()})
        if call.post_norm:
            self._post_norm.append(name)

    def finish(self, stacklevel: int = 3) -> dict[str, Tensor]:
        """Return the fields of :class:`ResidualStatistics`, and warn of layers that end with a normalisation."""
        if self._post_norm:
            warnings.warn(
                f"{len(self._post_norm)} layers, the first of them {self._post_norm[0]}, end with a normalisation "
                "(Post-LN): each resets the variance of the stream, so that its growth says nothing",
                stacklevel=stacklevel,
            )
        last = self._numbers[-1]
        fields = {key: [one[key] for one in self._numbers] for key in last if not key.startswith("last_")}
        for key in ("variance", "median_variance"):
            fields[key].append(last[f"last_{key}"])
        return {key: torch.tensor(values, dtype=torch.float64) for key, values in fields.items()}
