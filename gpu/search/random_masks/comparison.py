"""Whether searched masks are better than random ones once networks are trained, seed by seed."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.search.random_masks.best_of_n import Score, random_mask_search
from sparsetheory.gpu.search.random_masks.samplers import MaskSampler

__all__ = ["SearchComparison", "compare_search"]

Trial = Callable[[nn.Module, MaskSet], float]


@dataclass(frozen=True, eq=False)
class SearchComparison:
    """Qualities after training, one entry for each model.

    Parameters
    ----------
    searched, random : Tensor of float64 of shape (n_models,)
        Of the best of all candidates, and of the first one, which is a random mask.
    best_scores, mean_scores : Tensor of float64 of shape (n_models,)
        Lowest and mean score of the candidates, before training.
    peers : dict of str to Tensor of float64 of shape (n_models,)
        Of the masks of other methods.
    """

    searched: Tensor
    random: Tensor
    best_scores: Tensor
    mean_scores: Tensor
    peers: dict[str, Tensor]

    @property
    def differences(self) -> Tensor:
        """By how much searched masks are better, model by model."""
        return self.searched - self.random

    @property
    def mean_difference(self) -> float:
        """Mean of the differences."""
        return float(self.differences.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean of the differences; NaN for one model."""
        n_models = len(self.differences)
        return float(self.differences.std() / math.sqrt(n_models)) if n_models > 1 else math.nan


def compare_search(
    models: Iterable[nn.Module],
    sampler: MaskSampler,
    score: Score,
    trial: Trial,
    n_candidates: int = 100,
    *,
    peers: Mapping[str, Callable[[nn.Module], MaskSet]] | None = None,
    generator: torch.Generator | int | None = 0,
) -> SearchComparison:
    """Train networks under the best of many random masks, and under the first of them.

    Both have the same start, and the pairs tell a small difference from chance: compare it with its standard error.

    Parameters
    ----------
    models : iterable of torch.nn.Module
        Untrained, mostly one architecture from several seeds. They are not changed by the search.
    sampler, score, n_candidates
        As :func:`random_mask_search` takes them.
    trial : callable
        ``trial(model, masks)`` trains a copy of the model under masks and returns how good it is, more being better, on
        data that the search does not see. :class:`MaskedRun` is one way.
    peers : mapping of str to callable, optional
        Other masks by name, from the model: by magnitude or by :func:`sparsetheory.gpu.weights.snip_scores`, say.
    generator : torch.Generator or int, optional
        On the CPU, or a seed; one stream for all models.

    Returns
    -------
    SearchComparison

    Raises
    ------
    ValueError
        If there is no model, or as in :func:`random_mask_search`.

    Notes
    -----
    With one candidate both are the same mask; it is trained twice nevertheless, so that differences show what chance in
    training does.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu import core, search
    >>> x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> def trial(model, masks):
    ...     run = search.MaskedRun(model, masks, (x[:100], y[:100]), (x[100:], y[100:]))
    ...     return run(40)
    >>> found = search.compare_search(
    ...     [core.models.MLP([8, 16, 2], generator=seed) for seed in range(3)],
    ...     search.NodeSampler(0.5),
    ...     lambda masked: core.class_loss(masked(x[:100]), y[:100]),
    ...     trial,
    ...     n_candidates=10,
    ... )
    >>> bool((found.best_scores <= found.mean_scores).all()), abs(found.mean_difference) < 0.3
    (True, True)
    """
    COUNT.require(n_candidates=n_candidates)
    source = cpu_generator(generator)
    rows: list[list[float]] = []
    named = dict(peers or {})
    for model in models:
        start = source.get_state()
        found = random_mask_search(model, sampler, score, n_candidates, source)
        first = _first(model, sampler, start)
        others = [trial(model, choose(model)) for choose in named.values()]
        scores = [float(found.scores.min()), float(found.scores.mean())]
        rows.append([trial(model, found.mask), trial(model, first), *scores, *others])
    if not rows:
        raise ValueError("models must hold at least one; got none")
    searched, random, best, mean, *others_by_name = torch.tensor(rows, dtype=torch.float64).T
    return SearchComparison(searched, random, best, mean, dict(zip(named, others_by_name, strict=True)))


def _first(model: nn.Module, sampler: MaskSampler, state: Tensor) -> MaskSet:
    """Return the mask that a sampler draws first from a state of a generator."""
    again = torch.Generator()
    again.set_state(state)
    return sampler(model, again)
