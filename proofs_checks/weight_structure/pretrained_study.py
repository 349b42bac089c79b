"""Quality over sparsity of larger pretrained networks: a language model, and a network for photographs."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.weight_structure.decoder_perplexity import (
    CONTEXT,
    N_ARTICLES,
    N_CALIBRATION,
    pruned_perplexity,
)
from sparsetheory.proofs_checks.weight_structure.essential_curves import SUMMARY, draw_curves, summary
from sparsetheory.proofs_checks.weight_structure.photograph_agreement import pruned_agreement

if TYPE_CHECKING:
    from collections.abc import Mapping

    Curves = Mapping[str, weights.EssentialSparsity]

_TITLES = {
    "global": "magnitude, all layers together",
    "layer": "magnitude, layer by layer",
    "wanda": "Wanda, per row",
    "random": "random, equal densities",
    "random_erk": "random, Erdős-Rényi",
}
_DECODER_METHODS = ("global", "layer", "wanda", "random")
_DECODER_GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
# Tokens that the decoder knows: a perplexity above that is worse than guessing.
_VOCABULARY = 49152
# What the perplexity may grow by.
_GROWTH = 1.05
_PHOTOGRAPH_METHODS = ("global", "layer", "random", "random_erk")
_PHOTOGRAPH_GRID = (0.0, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
# One of 114 crops is 0.9 %, so that a smaller loss is a matter of two or three of them.
_LOST = 0.05


def _decoder_curve(method: str) -> "weights.EssentialSparsity":
    """Return the curve of minus the logarithm of the perplexity: the mean log-likelihood of a token.

    Perplexities span many orders of magnitude here, so that a fit of two segments to them would see the last point
    only. The logarithm keeps their order, and a growth by a factor becomes a difference.
    """
    return weights.essential_sparsity(
        lambda sparsity: -math.log(pruned_perplexity(method, sparsity)),
        _DECODER_GRID,
        tol=math.log(_GROWTH),
        relative=False,
    )


def _photograph_curve(method: str) -> "weights.EssentialSparsity":
    return weights.essential_sparsity(lambda sparsity: pruned_agreement(method, sparsity), _PHOTOGRAPH_GRID, tol=_LOST)


def _rows(curves: "Curves", shown: Callable[[float], float]) -> list[tuple[Any, ...]]:
    return [
        (title, sparsity, round(shown(quality), 4), *summary(curve))
        for title, curve in curves.items()
        for sparsity, quality in curve.curve.items()
    ]


def _plot(curves: "Curves", label: str, title: str, lowest: float | None = None) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        draw_curves(ax, curves)
        ax.set_ylabel(label)
        ax.set_ylim(bottom=lowest)
        ax.set_title(f"{title}, pruned at once; dotted: essential sparsity", fontsize=10)
        ax.legend(fontsize=8)

    return draw


def _decoder(profile: str) -> StudyResult:
    columns = ("method", "sparsity", "perplexity", *SUMMARY)
    if profile == "quick":
        return StudyResult.left_out(columns)
    curves = {_TITLES[method]: _decoder_curve(method) for method in _DECODER_METHODS}
    notes = (
        f"Perplexity on the first {CONTEXT} tokens of each of {N_ARTICLES} Wikipedia articles; Wanda is calibrated on "
        f"{N_CALIBRATION} others, and no training follows. Essential sparsity is where the perplexity has grown by "
        f"{_GROWTH - 1:.0%}. It and the kink are of minus the logarithm of the perplexity. The weights were stored in "
        "4 bits, so that many magnitudes tie."
    )
    plot = _plot(curves, "mean log-likelihood of a token", "Decoder SmolLM2", -math.log(_VOCABULARY))
    return StudyResult(columns, _rows(curves, lambda quality: math.exp(-quality)), notes, plot)


def _photographs(profile: str) -> StudyResult:
    columns = ("method", "sparsity", "agreement with dense", *SUMMARY)
    if profile == "quick":
        return StudyResult.left_out(columns)
    curves = {_TITLES[method]: _photograph_curve(method) for method in _PHOTOGRAPH_METHODS}
    notes = (
        "Share of six crops of each of 19 photographs that the pruned network gives the class of the dense one. The "
        "photographs have no labels: this is no accuracy on ImageNet. Neither weights nor the statistics of the batch "
        f"normalisation are adapted. Essential sparsity is at a loss of {_LOST:.0%}."
    )
    plot = _plot(curves, "agreement with the dense network", "1 x 1 convolutions of MobileNetV2")
    return StudyResult(columns, _rows(curves, float), notes, plot)


essential_decoder = Study(
    name="weight_structure.essential_decoder",
    title="How much of a language model is free",
    description="The 210 matrices of the blocks of the dequantised SmolLM2 with 135 million weights are pruned at once "
    "and without training, by magnitude, by Wanda and at random.",
    run=_decoder,
)

essential_photographs = Study(
    name="weight_structure.essential_photographs",
    title="How much of a network for photographs is free",
    description="The 34 convolutions of size 1 x 1 of MobileNetV2, 2.1 million weights, are pruned at once and without "
    "training, by magnitude and at random.",
    run=_photographs,
)
