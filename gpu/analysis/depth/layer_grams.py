"""Sums over tokens from which every affine replacement of a layer is found: one pass for all layers."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.analysis.depth.blocks import find_blocks
from sparsetheory.gpu.analysis.depth.residual_stream import LayerCall, Mask, observe_stream
from sparsetheory.gpu.core.gram import Gram
from sparsetheory.gpu.core.recording import check_batches

__all__ = ["Moments", "layer_grams", "moments_of"]


def layer_grams(
    model: nn.Module,
    batches: Iterable[Any],
    layers: str | Sequence[str] | None = None,
    mask: Mask | None = None,
) -> dict[str, Gram]:
    """Collect for each layer the Gram matrix of what enters it, what it adds, and a one, side by side.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode and without gradients; its mode is restored.
    batches : iterable
        What the model takes, as :func:`sparsetheory.gpu.core.collect_grams` takes it.
    layers : str or sequence of str, optional
        Names of layers, or shell patterns; by default :func:`residual_layers`.
    mask : callable, optional
        From a batch to the tensor that is not zero where a token counts; by default the attention mask of a mapping.

    Returns
    -------
    dict of str to Gram
        Of ``2 width + 1`` features and one shard. Those of several workers or parts of the data are joined by
        :meth:`sparsetheory.gpu.core.Gram.merge`. Memory: ``32 width**2`` bytes for each layer.

    Raises
    ------
    ValueError
        If a layer is not called once in a forward pass, or does not keep the shape of its input.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> grams = layer_grams(model, [torch.ones(5, 2), torch.zeros(3, 2)])
    >>> grams["0"].n_samples, grams["0"].n_features
    (8, 5)
    """
    check_batches("batches", batches)
    found = find_blocks(model, layers)
    grams: dict[str, Gram] = {}

    def observe(name: str, call: LayerCall) -> None:
        ones = torch.ones_like(call.x[:, :1])
        rows = torch.cat([call.x, call.added, ones], dim=1)
        if name not in grams:
            grams[name] = Gram.empty(rows.shape[1], n_shards=1, device=rows.device)
        try:
            grams[name].update(rows)
        except ValueError as error:
            raise ValueError(f"what {name} takes and adds: {error}") from error

    for batch in batches:
        observe_stream(model, found, batch, observe, mask)
    return grams


class Moments:
    """Means and covariances of what enters a layer and of what it adds.

    Parameters
    ----------
    gram : Gram
        As :func:`layer_grams` collects it.

    Attributes
    ----------
    mean_x, mean_added : Tensor of float64 of shape (width,)
    xx, x_added : Tensor of float64 of shape (width, width)
        Covariances.
    energies : Tensor of float64 of shape (width,)
        Variances of what is added, feature by feature.
    total : float
        Mean square of what is added, summed over features, and not centred.
    """

    def __init__(self, gram: Gram) -> None:
        width = (gram.n_features - 1) // 2
        matrix = gram.matrix
        self.width, self.n_samples = width, gram.n_samples
        self.mean_x, self.mean_added = matrix[:width, -1], matrix[width:-1, -1]
        self.xx = matrix[:width, :width] - torch.outer(self.mean_x, self.mean_x)
        self.x_added = matrix[:width, width:-1] - torch.outer(self.mean_x, self.mean_added)
        squares = matrix.diagonal()[width:-1]
        self.energies = (squares - self.mean_added**2).clamp(min=0)
        self.total = float(squares.sum())

    def error(self, change: Tensor) -> float:
        """Return the squared error of a matrix with the best constants, relative to what is added.

        Parameters
        ----------
        change : Tensor of shape (width, width)
            Estimates what is added from what enters, one row per output.
        """
        fitted = torch.einsum("oi,io->", change, 2 * self.x_added - self.xx @ change.T)
        # Not below zero, where rounding would lead.
        return max(float(self.energies.sum() - fitted), 0.0) / self.total if self.total else 0.0


def moments_of(gram: Gram) -> Moments:
    """Return the moments of a layer from sums over enough tokens.

    Raises
    ------
    ValueError
        If the number of features is even, or there are fewer than ten tokens for each unknown of an output.
    """
    if gram.n_features < 3 or gram.n_features % 2 == 0:
        raise ValueError(f"gram must be one of layer_grams, with 2 width + 1 features; got {gram.n_features}")
    least = 10 * ((gram.n_features - 1) // 2 + 1)
    if gram.n_samples < least:
        raise ValueError(f"gram must hold at least 10 (width + 1) = {least} tokens; got {gram.n_samples}")
    return Moments(gram)
