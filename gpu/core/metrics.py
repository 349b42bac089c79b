"""How good a model is: accuracy, calibration, perplexity, and likeness to another model."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import COUNT, Choice, Integer
from sparsetheory.gpu.core.recording import run_batches

__all__ = [
    "MaskedModel",
    "Perplexity",
    "accuracy",
    "confidence_bins",
    "expected_calibration_error",
    "mean_cosine",
    "perplexity",
    "run_masked",
]


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share of samples whose largest logit is that of their label; the lowest class wins ties.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
    labels : Tensor of int64 of shape (n,)

    Examples
    --------
    >>> import torch
    >>> accuracy(torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([1, 1]))
    0.5
    """
    _check_classes(logits, labels)
    return float((logits.argmax(dim=1) == labels).double().mean())


def expected_calibration_error(logits: Tensor, labels: Tensor, *, n_bins: int = 10, bins: str = "equal_width") -> float:
    """Return the mean distance between confidence and accuracy, over bins of confidence weighted by their samples.

    The confidence of a sample is its largest probability. Empty bins count nothing.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
        The softmax of a row gives the probabilities; probabilities p themselves are passed as ``p.log()``.
    labels : Tensor of int64 of shape (n,)
    n_bins : int
    bins : {"equal_width", "equal_mass"}
        Bin b of equal width holds the confidences above ``(b - 1) / n_bins`` up to and with ``b / n_bins``. Bins of
        equal mass hold equally many samples in the order of their confidence, or one more.

    Returns
    -------
    float
        Between 0 and 1.

    Notes
    -----
    Source: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. All is computed in double precision.

    Examples
    --------
    Two samples with confidence 0.8 of which one is right, and one with 0.6 that is right:

    >>> import torch
    >>> p = torch.tensor([[0.8, 0.2], [0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)
    >>> round(expected_calibration_error(p.log(), torch.tensor([0, 0, 0])), 12)  # (2 * |0.8 - 0.5| + |0.6 - 1|) / 3
    0.333333333333
    """
    counts, confidence, right = confidence_bins(logits, labels, n_bins=n_bins, bins=bins)
    # What a bin adds is the distance of its means weighted by its samples, which is that of its sums.
    return float((confidence - right).abs().sum()) / int(counts.sum())


def confidence_bins(
    logits: Tensor, labels: Tensor, *, n_bins: int, bins: str = "equal_width"
) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each bin of confidence how many samples it holds, and sums of their confidences and of the right ones.

    Parameters
    ----------
    logits, labels, n_bins, bins
        As :func:`expected_calibration_error` takes them.

    Returns
    -------
    counts : Tensor of int64 of shape (n_bins,)
    confidence, right : Tensor of float64 of shape (n_bins,)
        In bins of equal mass, samples of equal confidence share how often they are right.
    """
    _check_classes(logits, labels)
    COUNT.require(n_bins=n_bins)
    Choice("equal_width", "equal_mass").require(bins=bins)
    confidence = logits.double().softmax(dim=1).amax(dim=1)
    right = (logits.argmax(dim=1) == labels).double()
    if bins == "equal_mass":
        # Samples of equal confidence share their mean, so that their order does not matter.
        _, group, size = confidence.unique(return_inverse=True, return_counts=True)
        mean = torch.zeros(len(size), dtype=torch.float64, device=logits.device).index_add_(0, group, right) / size
        order = confidence.argsort()
        parts = order.tensor_split(n_bins)
        counts = torch.tensor([len(part) for part in parts], device=logits.device)
        shared = mean[group]
        sums = torch.stack([torch.stack([values[part].sum() for part in parts]) for values in (confidence, shared)])
        return counts, sums[0], sums[1]
    inner = torch.arange(1, n_bins, dtype=torch.float64, device=logits.device) / n_bins
    place = torch.bucketize(confidence, inner)
    sums = torch.zeros(2, n_bins, dtype=torch.float64, device=logits.device)
    sums.index_add_(1, place, torch.stack([confidence, right]))
    return torch.bincount(place, minlength=n_bins), sums[0], sums[1]


@dataclass(frozen=True)
class Perplexity:
    """Perplexity of a text.

    Parameters
    ----------
    value : float
        Exponential of the mean negative log-likelihood of a scored token, in nats.
    n_tokens : int
        Tokens that were scored.
    """

    value: float
    n_tokens: int


def perplexity(
    model: nn.Module, tokens: Tensor, *, window: int, stride: int | None = None, batch_size: int = 1
) -> Perplexity:
    """Compute the perplexity of a causal language model on one text, in windows.

    Parameters
    ----------
    model : torch.nn.Module
        From tokens of shape (batch, positions) to logits, or to an output that has ``logits``.
    tokens : Tensor of int64 of shape (n,)
        The text; moved to the device of the model.
    window : int
        Tokens that the model sees at once, at least 2.
    stride : int, optional
        Step from one window to the next, at most ``window``, by default equal to it. With a smaller step windows
        overlap and each token is scored once, in the first window that holds it behind another token. Without overlap
        the first token of each window is scored nowhere, as nothing stands before it.
    batch_size : int
        Windows that run together.

    Returns
    -------
    Perplexity
        A last window is shorter; it counts if it has at least two tokens.

    Notes
    -----
    Time: ``n / stride`` windows. Log-likelihoods are summed in double precision.

    Examples
    --------
    A model that knows nothing of 4 words has perplexity 4:

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Embedding.from_pretrained(torch.zeros(4, 4))
    >>> found = perplexity(model, torch.arange(10) % 4, window=5)
    >>> round(found.value, 6), found.n_tokens
    (4.0, 8)
    """
    Integer(2).require(window=window)
    stride = Integer(1, window).check("stride", window if stride is None else stride)
    COUNT.require(batch_size=batch_size)
    if tokens.ndim != 1 or len(tokens) < 2:
        raise ValueError(f"tokens must have shape (n,) with at least 2 of them; got shape {tuple(tokens.shape)}")
    total, n_tokens = 0.0, 0
    batches = list(_windows(tokens.to(next(model.parameters()).device), window, stride, batch_size))
    for (seen, first), output in zip(batches, run_batches(model, [seen for seen, _ in batches]), strict=True):
        logits = getattr(output, "logits", output)[:, first - 1 : -1]
        aims = seen[:, first:]
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        likelihood = exact.log_softmax(-1).gather(-1, aims.unsqueeze(-1))
        total -= float(likelihood.double().sum())
        n_tokens += aims.numel()
    return Perplexity(math.exp(total / n_tokens), n_tokens)


def _windows(tokens: Tensor, window: int, stride: int, batch_size: int) -> Iterator[tuple[Tensor, int]]:
    """Yield batches of windows of one length, with the first position that they score."""
    n = len(tokens)
    if n < window:
        yield tokens[None], 1
        return
    # Full windows start at multiples of the stride. What a later one shares with the one before is scored already,
    # and its first token never is.
    scored = max(1, window - stride)
    full = tokens.unfold(0, window, stride)
    yield full[:1], 1
    yield from ((part, scored) for part in full[1:].split(batch_size) if len(part))
    last = tokens[len(full) * stride :]
    if len(last) > scored:
        yield last[None], scored


def run_masked(model: nn.Module, masks: Mapping[str, Tensor], batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the output of a model for each batch as if its weights were 0 off the masks; the model is not touched.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode and without gradients.
    masks : mapping of str to Tensor of bool
        From names of parameters to masks of their shapes, True where an entry is kept.
    batches : iterable
        As :func:`collect_grams` takes them.

    Raises
    ------
    ValueError
        If a name is not one of a parameter, or a mask has another shape.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> list(run_masked(model, {"weight": torch.tensor([[False, False]])}, [torch.ones(1, 2)]))
    [tensor([[0.]])]
    """
    return run_batches(MaskedModel(model, masks), batches)


class MaskedModel(nn.Module):
    """A model that computes with weights of 0 off the masks, while the model itself stays as it is.

    Parameters
    ----------
    model : torch.nn.Module
    masks : mapping of str to Tensor of bool
        As :func:`run_masked` takes them.
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model = model
        self._weights = {}
        own = dict(model.named_parameters())
        for name, mask in masks.items():
            if name not in own or own[name].shape != mask.shape:
                known = tuple(own[name].shape) if name in own else None
                raise ValueError(
                    f"masks must be named and shaped as parameters; got {name!r} of shape {tuple(mask.shape)}"
                    + (f" for one of shape {known}" if known is not None else "")
                )
            # Not a product: 0 times an infinite weight is no number.
            self._weights[name] = own[name].detach().masked_fill(~mask.to(own[name].device), 0)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output of the model with masked weights."""
        return torch.func.functional_call(self.model, self._weights, args, kwargs)


def mean_cosine(embeddings: Tensor, reference: Tensor) -> float:
    """Return the mean cosine between the rows of two matrices, in double precision.

    Parameters
    ----------
    embeddings, reference : Tensor of shape (n, width)
        As :func:`sparsetheory.gpu.core.models.sentence_embeddings` returns them, for example.

    Examples
    --------
    >>> import torch
    >>> round(mean_cosine(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 1.0]])), 6)
    0.853553
    """
    if embeddings.shape != reference.shape or embeddings.ndim != 2:
        raise ValueError(
            "embeddings must have the shape of reference, (n, width); "
            f"got {tuple(embeddings.shape)} and {tuple(reference.shape)}"
        )
    return float(functional.cosine_similarity(embeddings.double(), reference.double(), dim=1).mean())


def _check_classes(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            "logits must have shape (n, n_classes) and labels shape (n,); "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
