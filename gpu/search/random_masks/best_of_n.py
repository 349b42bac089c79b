"""Random search as a baseline: many random masks of an untrained network are judged, and the best is kept."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.metrics import MaskedModel
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.search.random_masks.samplers import MaskSampler

__all__ = ["Score", "SearchResult", "random_mask_search"]

Score = Callable[[nn.Module], float | Tensor]


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The best of some random masks.

    Parameters
    ----------
    mask : MaskSet
        That of the lowest score; the first one of several.
    scores : Tensor of float64 of shape (n_candidates,)
        Of all candidates, in the order in which they were drawn; on the CPU.
    """

    mask: MaskSet
    scores: Tensor

    @property
    def best_so_far(self) -> Tensor:
        """Lowest score of the first N candidates, for every N: it never rises."""
        return self.scores.cummin(0).values


def random_mask_search(
    model: nn.Module,
    sampler: MaskSampler,
    score: Score,
    n_candidates: int = 100,
    generator: torch.Generator | int | None = None,
) -> SearchResult:
    """Draw random masks, judge the masked network as it is, and keep the best.

    That is the baseline which any search for sparse architectures has to beat [1]_. There is no argument for test data:
    a mask that was chosen on them would be judged on what it was chosen on.

    Parameters
    ----------
    model : torch.nn.Module
        Mostly untrained. It is not changed: weights are masked in a functional call.
    sampler : callable
        Such as :class:`NodeSampler` or :class:`WeightSampler`: from the model and a generator to masks.
    score : callable
        From the masked model to a number of which less is better, such as its loss on a batch of training data. It is
        called without gradients, with the model in evaluation mode.
    n_candidates : int
        Masks to draw. With 1 the result is a random mask, bit for bit the first one that the sampler draws.
    generator : torch.Generator or int, optional
        On the CPU, or a seed; by default torch's global generator.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError
        If there is no candidate, or a score is not a number.

    Notes
    -----
    Time is that of `n_candidates` evaluations; memory holds two masks. Of independent candidates with a continuous
    score, the best of N is below the p-quantile with probability ``1 - (1 - p)^N``. That the score of an untrained
    network says something about the trained one is another question: it hardly does, see :func:`compare_search`.

    References
    ----------
    .. [1] R. Farahani. Random search as a baseline for sparse neural network architecture search. arXiv 2403.08265,
       2024.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu import core, search
    >>> x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> model = core.models.MLP([8, 32, 2])
    >>> found = search.random_mask_search(
    ...     model, search.NodeSampler(0.25), lambda masked: core.class_loss(masked(x), y), n_candidates=20, generator=0
    ... )
    >>> bool(found.best_so_far[-1] < found.scores.mean()), found.mask["0.weight"].any(1).sum()
    (True, tensor(8))
    """
    COUNT.require(n_candidates=n_candidates)
    source = cpu_generator(generator)
    best, lowest, scores = None, float("inf"), torch.empty(n_candidates, dtype=torch.float64)
    for number in range(n_candidates):
        mask = sampler(model, source)
        value = judged(model, mask, score)
        if value != value:
            raise ValueError(f"score must return a number; got {value} for candidate {number}")
        scores[number] = value
        if best is None or value < lowest:
            best, lowest = mask, value
    assert best is not None  # there is a candidate
    return SearchResult(best, scores)


def judged(model: nn.Module, masks: MaskSet, score: Score) -> float:
    """Return the score of a masked model in evaluation mode, without gradients; the model and its mode stay."""
    masked = MaskedModel(model, masks)
    with in_mode(masked, training=False), torch.no_grad():
        return float(score(masked))
