"""The sparsity of activations that costs a given rise of perplexity: one error for all layers, found by bisection."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsetheory.constraints import FLAG, POSITIVE
from sparsetheory.gpu.activations.sparsing_law.feed_forward import Hidden, hidden_activations, select_inputs
from sparsetheory.gpu.activations.sparsing_law.language_loss import next_token_loss
from sparsetheory.gpu.activations.sparsing_law.neurons import Neurons
from sparsetheory.gpu.activations.sparsing_law.size_selector import SizeThreshold
from sparsetheory.gpu.activations.sparsing_law.threshold_search import LayerSearch
from sparsetheory.gpu.core.recording import check_batches
from sparsetheory.progress import tracked

__all__ = ["PplSparsity", "ppl_sparsity"]

Loss = Callable[[nn.Module, Sequence[Any]], float]


@dataclass(frozen=True)
class PplSparsity:
    """How few neurons a model needs, within a rise of its perplexity.

    Parameters
    ----------
    cett : float
        Mean relative error of the output that all layers share.
    thresholds : dict of str to float
        For each down projection the norm below which its neurons are left out.
    active_ratios : dict of str to float
        For each down projection the share of neurons that stay, as the dense model activates them.
    ppl_ratio : float
        Perplexity with these thresholds in all layers over that of the dense model.
    """

    cett: float
    thresholds: dict[str, float]
    active_ratios: dict[str, float]
    ppl_ratio: float

    @property
    def active_ratio(self) -> float:
        """Share of neurons that stay, the mean over tokens and layers; one minus it is the sparsity."""
        return math.fsum(self.active_ratios.values()) / len(self.active_ratios)


def ppl_sparsity(
    model: nn.Module,
    batches: Iterable[Any],
    p: float = 1.0,
    tol: float = 1e-6,
    *,
    layers: str | Sequence[str] | None = None,
    loss: Loss = next_token_loss,
    verbose: bool = False,
) -> PplSparsity:
    """Leave out as many neurons as a rise of perplexity by p percent allows, with the same CETT in all layers.

    For an error c between 0 and 1 each layer gets the threshold at which its mean error is c
    (:func:`cett_threshold`); then the whole model runs with all of these thresholds together, so that errors pass on
    from layer to layer. Bisection finds a c whose perplexity rises by less than p percent, while at `tol` more it does
    not. (The authors' code returns the middle of the last bracket, which may lie on either side.)

    Parameters
    ----------
    model : torch.nn.Module
        Language model with feed-forward networks, see `layers`. Run in evaluation mode; it is not changed.
    batches : iterable
        Texts, as `loss` takes them. Some 2000 tokens are enough, all together in memory.
    p : float
        Allowed rise of the perplexity in percent, above 0.
    tol : float
        Width of the last bracket of c.
    layers : str or sequence of str, optional
        Down projections, by name or shell pattern; by default those of
        :func:`sparsetheory.gpu.core.hidden_layers`.
    loss : callable
        From model and batches to a mean loss in nats. By default that of the next token. For an encoder it may be
        ``1 - cosine`` to the embeddings of the dense model; `p` then bounds the exponent of its rise.
    verbose : bool
        Whether a progress bar is shown.

    Returns
    -------
    PplSparsity

    Raises
    ------
    TypeError
        If `batches` is a single batch.
    ValueError
        If an argument is out of its range, a layer has no output at all, or the loss of the dense model is not finite.

    Warns
    -----
    UserWarning
        If even an error of 1 keeps the perplexity within p percent: there is nothing to search for then.

    Notes
    -----
    The model runs ``3 + log2(1 / tol)`` times. Neither the error of a layer need grow with its threshold, nor
    perplexity with c. Where they do not, this finds one of several crossings. Neurons that are exactly zero count as
    left out whatever the threshold.

    Source: Y. Luo et al., "Sparsing Law: Towards Large Language Models with Greater Activation Sparsity", ICML 2025,
    arXiv 2411.02335, where it is called CETT-PPL-p%, and the authors' code, which calls it PPL-p%.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import train
    >>> from sparsetheory.gpu.core.models import CharacterDecoder
    >>> model = CharacterDecoder(7, width=16, n_layers=1, n_heads=2, hidden=32, context=8)
    >>> texts = (torch.arange(9) ** 2 + torch.arange(7)[:, None]) % 7
    >>> adam = torch.optim.Adam(model.parameters(), lr=0.01)
    >>> _ = train(model, texts[:, :-1], texts[:, 1:], optimizer=adam, n_steps=60)
    >>> found = ppl_sparsity(model, [texts[:, :-1]], p=5.0)
    >>> found.active_ratio < 0.9, found.ppl_ratio < 1.05
    (True, True)
    """
    POSITIVE.require(p=p, tol=tol)
    FLAG.require(verbose=verbose)
    check_batches("batches", batches)
    search = _ModelSearch.of(model, list(batches), layers, loss)
    limit = math.log1p(p / 100)
    low, high = 0.0, 1.0
    if search.rise(high) < limit:
        warnings.warn(f"perplexity rises by less than p={p} percent without most of the neurons", stacklevel=2)
        return search.result(1.0)
    for _ in tracked(range(max(0, math.ceil(-math.log2(tol)))), "bisecting the error of layers", verbose):
        middle = (low + high) / 2
        if search.rise(middle) < limit:
            low = middle
        else:
            high = middle
    return search.result(low)


@dataclass(frozen=True, eq=False)
class _ModelSearch:
    """A model with what its layers saw, and the loss of its dense run."""

    model: nn.Module
    batches: Sequence[Any]
    loss: Loss
    dense: float
    hidden: Hidden
    searches: dict[str, LayerSearch]

    @classmethod
    def of(
        cls, model: nn.Module, batches: Sequence[Any], layers: str | Sequence[str] | None, loss: Loss
    ) -> "_ModelSearch":
        hidden = hidden_activations(model, batches, layers)
        searches = {}
        for name, (h, w_out) in hidden.items():
            try:
                searches[name] = LayerSearch(Neurons.of(h, w_out))
            except ValueError as error:
                raise ValueError(f"activations of {name}: {error}") from error
        dense = loss(model, batches)
        if not math.isfinite(dense):
            raise ValueError(f"loss of the dense model must be a finite number; got {dense}")
        return cls(model, batches, loss, dense, hidden, searches)

    def thresholds(self, cett: float) -> dict[str, float]:
        return {name: search.threshold(cett) for name, search in self.searches.items()}

    def selectors(self, thresholds: dict[str, float]) -> dict[str, SizeThreshold]:
        return {name: SizeThreshold.of_norms(eps, self.hidden[name][1]) for name, eps in thresholds.items()}

    def rise(self, cett: float) -> float:
        """Return the rise of the loss with one error in all layers, the logarithm of the ratio of perplexities."""
        with select_inputs(self.model, self.selectors(self.thresholds(cett))):
            return self.loss(self.model, self.batches) - self.dense

    def result(self, cett: float) -> PplSparsity:
        thresholds = self.thresholds(cett)
        ratios = {
            name: float(selector(self.hidden[name][0]).double().mean())
            for name, selector in self.selectors(thresholds).items()
        }
        return PplSparsity(cett, thresholds, ratios, math.exp(self.rise(cett)))
