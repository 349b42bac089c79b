"""Every score of how a residual network uses its depth, in one report."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import FLAG, NONNEGATIVE, Choice
from sparsetheory.gpu.analysis.depth.blocks import find_blocks
from sparsetheory.gpu.analysis.depth.jacobian import jacobian_of_call
from sparsetheory.gpu.analysis.depth.language_loss import next_token_loss
from sparsetheory.gpu.analysis.depth.layer_grams import layer_grams
from sparsetheory.gpu.analysis.depth.linear_maps import AffineMap, linear_map
from sparsetheory.gpu.analysis.depth.residual_stream import LayerCall, Mask
from sparsetheory.gpu.analysis.depth.scores import (
    Loss,
    Subject,
    causal_effects,
    linear_increases,
    permutation_scores,
)
from sparsetheory.gpu.analysis.depth.stream_statistics import ResidualStatistics, StreamRecorder
from sparsetheory.gpu.core.modes import in_mode

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DepthReport", "depth_report"]

# How far two runs on the same batch may be apart, relative to the stream.
_REPEATABLE = 1e-3


@dataclass(frozen=True, eq=False)
class DepthReport(ResidualStatistics):
    """How a residual network uses its depth; all tensors are float64 on the CPU.

    Parameters
    ----------
    layers, variance, median_variance, branch_variance, covariance, cosine, relative_contribution
        Of the residual stream, as in :class:`ResidualStatistics`.
    causal : Tensor of shape (n_layers, n_layers)
        Row s, column l: how far Delta_l moves if layer s is left out, ``|Delta_l' - Delta_l|`` averaged over tokens,
        relative to the mean of ``|Delta_l|``. Zero where l is not later than s.
    loss : float or None
        Of the model on the batch.
    skip_increase : Tensor of shape (n_layers,) or None
        Relative rise of the loss if the layer is left out.
    permutation : Tensor of shape (n_layers, n_layers) or None
        Relative size of the change of the loss if two layers are exchanged; NaN where it was not computed.
    linear_increase : Tensor of shape (n_layers,) or None
        Relative rise of the loss if the layer is replaced by its affine map of least squares.
    useful : Tensor of bool of shape (n_layers,) or None
        Where `linear_increase` is above `useful_above`.
    jacobian : Tensor of shape (n_layers,) or None
        ``|J - I|_F / width``, with J the :func:`mean_jacobian`.
    """

    causal: Tensor
    loss: float | None
    skip_increase: Tensor | None
    permutation: Tensor | None
    linear_increase: Tensor | None
    useful: Tensor | None
    jacobian: Tensor | None

    @property
    def usefulness(self) -> float | None:
        """Share of useful layers: a multiple of one over their number, so look at `linear_increase`, too."""
        return None if self.useful is None else float(self.useful.double().mean())

    @property
    def causal_effect(self) -> Tensor:
        """Mean of `causal` over later layers, of shape (n_layers - 1,), as none is later than the last one."""
        n_layers = len(self.layers)
        return self.causal[:-1].sum(1) / torch.arange(n_layers - 1, 0, -1, dtype=torch.float64)

    def to_frame(self) -> "pd.DataFrame":
        """Return one row per layer, with ``variance`` after it, and one column per score that was computed.

        Column ``causal`` is the :attr:`causal_effect`, and ``permutation`` the exchange with the next layer.
        """
        import pandas as pd

        n_layers = len(self.layers)
        columns: dict[str, Any] = {
            "layer": self.layers,
            "variance": self.variance[1:].numpy(),
            "median_variance": self.median_variance[1:].numpy(),
            "branch_variance": self.branch_variance.numpy(),
            "covariance": self.covariance.numpy(),
            "cosine": self.cosine.numpy(),
            "relative_contribution": self.relative_contribution.numpy(),
            "causal": [*self.causal_effect.tolist(), float("nan")],
        }
        if self.permutation is not None:
            columns["permutation"] = [*self.permutation.diagonal(1).tolist(), float("nan")]
        for name in ("skip_increase", "linear_increase", "useful", "jacobian"):
            found: Tensor | None = getattr(self, name)
            if found is not None:
                columns[name] = found.numpy()
        return pd.DataFrame(columns, index=range(n_layers))


def depth_report(
    model: nn.Module,
    layers: str | Sequence[str] | None,
    batch: Any,
    fit_batch: Any = None,
    *,
    loss: Loss | None = next_token_loss,
    mask: Mask | None = None,
    pairs: str = "all",
    jacobian: bool = True,
    useful_above: float = 0.1,
) -> DepthReport:
    """Score how a residual network uses its depth: growth of the stream, and what each layer matters to others.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode; its mode is restored. Layers take the residual stream first, and give a tensor or a
        tuple that begins with it. Weights are not touched. Models of ``transformers`` run without a cache.
    layers : str or sequence of str, optional
        Names or shell patterns; None for :func:`residual_layers`.
    batch
        What the model is judged on: a tensor, a tuple of positional or a mapping of keyword arguments.
    fit_batch : optional
        Other data, on which the affine maps are fitted: a batch, or a list of batches. Without it no layer is replaced
        by a map.
    loss : callable, optional
        From the output of the model and the batch to the loss, above 0. By default :func:`next_token_loss`. None leaves
        out what needs a loss.
    mask : callable, optional
        From a batch to the tensor that is not zero where a token counts in scores of the stream; by default the
        attention mask of a mapping. It does not change the loss.
    pairs : {"all", "adjacent"}
        Which pairs of layers are exchanged.
    jacobian : bool
        Whether mean Jacobians are found, by as many backward passes through each layer as it has outputs.
    useful_above : float
        Rise of the loss above which a layer counts as useful.

    Returns
    -------
    DepthReport

    Warns
    -----
    UserWarning
        If layers end with a normalisation, so that the stream does not grow; or if layers share parameters.

    Raises
    ------
    TypeError
        If the default loss finds no tokens or logits.
    ValueError
        If a layer occurs in several places, is not called once, does not keep the shape, or keeps a state from call to
        call; the batch holds a cache; the loss is not above 0; or the data of the fit are those of the batch, or fewer
        than ``10 (width + 1)`` tokens.

    Notes
    -----
    Forward passes: one for each layer, each pair and each map. Besides the activations of one pass, what each layer
    adds is kept, and for the fit ``32 width**2`` bytes for each layer.

    References
    ----------
    D. Muhtar et al., "When Does Sparsity Mitigate the Curse of Depth in LLMs", arXiv 2603.15389, for the scores. Two
    things differ here: maps are fitted on other data than they are judged on, and a map is applied as it was fitted.
    X. Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", arXiv 2403.03853, for
    the block influence.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import CharacterDecoder
    >>> model = CharacterDecoder(27, width=16, n_layers=3, n_heads=2, hidden=32)
    >>> tokens = torch.randint(27, (16, 16), generator=torch.Generator().manual_seed(0))
    >>> report = depth_report(model, None, tokens[:4], tokens[4:])
    >>> report.variance.shape, report.causal.shape, report.usefulness
    (torch.Size([4]), torch.Size([3, 3]), 0.0)
    """
    Choice("all", "adjacent").require(pairs=pairs)
    FLAG.require(jacobian=jacobian)
    NONNEGATIVE.require(useful_above=useful_above)
    found = find_blocks(model, layers)
    subject = Subject(model, found, batch, mask, loss)
    _warn_of_shared_parameters(found)
    # First, as too few tokens are an error that should not come after a long computation.
    maps = None if fit_batch is None or loss is None else _maps(subject, fit_batch)
    recorder, calls = StreamRecorder(), dict[str, LayerCall]()

    def observe(name: str, call: LayerCall) -> None:
        recorder.record(name, call)
        calls[name] = call

    output = subject.observe(observe)
    added = [calls[name].added for name in found]
    value = None if loss is None else _positive(subject.loss_of(output))
    effects, skipped = causal_effects(subject, added)
    _check_repeatable(subject, added)
    swaps = rises = None
    if value is not None:
        swaps = permutation_scores(subject, value, adjacent=pairs == "adjacent")
        rises = None if maps is None else linear_increases(subject, value, maps)
    return DepthReport(
        tuple(found),
        **recorder.finish(),
        causal=effects,
        loss=value,
        skip_increase=None if value is None else torch.tensor(skipped, dtype=torch.float64) / value - 1,
        permutation=swaps,
        linear_increase=rises,
        useful=None if rises is None else rises > useful_above,
        jacobian=_distances(subject, calls) if jacobian else None,
    )


def _distances(subject: Subject, calls: Mapping[str, LayerCall]) -> Tensor:
    """Return how far the mean Jacobian of each layer is from the identity."""
    distances = []
    with in_mode(subject.model, training=False):
        for name, layer in subject.layers.items():
            slopes = jacobian_of_call(layer, calls[name])
            distances.append(float((slopes - torch.eye(len(slopes)).to(slopes)).norm()) / len(slopes))
    return torch.tensor(distances, dtype=torch.float64)


def _maps(subject: Subject, fit_batch: Any) -> dict[str, AffineMap]:
    batches = fit_batch if isinstance(fit_batch, list) else [fit_batch]
    if any(one is subject.batch for one in batches):
        raise ValueError(
            "fit_batch must be other data than batch: a map that has seen what it is judged on looks better"
        )
    grams = layer_grams(subject.model, batches, list(subject.layers), subject.mask)
    return {name: linear_map(gram) for name, gram in grams.items()}


def _positive(loss: float) -> float:
    if not loss > 0:
        raise ValueError(f"loss must be above 0, as changes are relative to it; got {loss:.4g}")
    return loss


def _check_repeatable(subject: Subject, added: list[Tensor]) -> None:
    """Find out whether the layers do again what they did, after all that was done to them."""
    again: list[Tensor] = []
    subject.observe(lambda _, call: again.append(call.added))
    for name, first, second in zip(subject.layers, added, again, strict=True):
        if float((first - second).norm()) > _REPEATABLE * float(first.norm()):
            raise ValueError(f"layers must give the same for the same inputs; {name} keeps a state, or draws at random")


def _warn_of_shared_parameters(layers: Mapping[str, nn.Module]) -> None:
    owners: dict[int, str] = {}
    for name, layer in layers.items():
        for parameter in layer.parameters():
            other = owners.setdefault(id(parameter), name)
            if other != name:
                warnings.warn(
                    f"layers {other} and {name} share parameters: exchanging them changes little or nothing",
                    stacklevel=3,
                )
                return
