"""Claims about real layers, judged on texts that nothing was fitted to. Nobody has proved them; they were measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.language_model import QUERIES, encoder_layer, pruned
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array, IndexArray

_LAYERS, _QUICK_LAYERS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0), (0.0, 3.0)
_WHERE = "queries of the MiniLM encoder at 2:4, half of 128 rows and of the held-out texts in each trial"


@dataclass(frozen=True, eq=False)
class Sample:
    """Some rows of a layer, and some parts of the held-out texts."""

    name: str
    rows: IndexArray
    parts: IndexArray

    @property
    def unseen(self) -> Float64Array:
        """Gram matrix of the parts."""
        gram: Float64Array = encoder_layer(self.name).held_out[self.parts].sum(0)
        return gram

    def held_out(self, method: str, *, refit: bool = False) -> float:
        """Return the relative error of a method on the parts."""
        return encoder_layer(self.name).error(pruned(self.name, method, refit=refit), self.unseen, self.rows)

    def calibration(self, method: str, *, refit: bool = False) -> float:
        """Return the relative error of a method on the texts that it was fitted to."""
        layer = encoder_layer(self.name)
        return layer.error(pruned(self.name, method, refit=refit), layer.calibration, self.rows)


def _sample(rng: np.random.Generator, index: float) -> Sample:
    name = QUERIES[int(index)]
    layer = encoder_layer(name)
    rows, parts = len(layer.weight), len(layer.held_out)
    return Sample(name, rng.choice(rows, rows // 2, replace=False), rng.choice(parts, parts // 2, replace=False))


def _sweep(measured_label: str, bound_label: str) -> Sweep:
    return Sweep(
        axis="layer of the encoder",
        values=_LAYERS,
        draw=_sample,
        trials=40,
        quick_trials=21,
        quick_values=_QUICK_LAYERS,
        measured_label=measured_label,
        bound_label=bound_label,
        y_label="relative output error, held-out texts",
    )


def _claim(
    name: str,
    summary: str,
    statement: str,
    item: str,
    evaluate: Callable[[Sample], Measurement],
    near_miss: float | Callable[[Sample], Measurement],
    labels: tuple[str, str],
) -> Claim:
    return Claim(
        name=f"layerwise_pruning.{name}",
        summary=summary,
        statement=statement,
        source=Source.measured(f"{item}; {_WHERE}"),
        verdict=WithProbability(0.9),
        evaluate=evaluate,
        near_miss=near_miss,
        sweep=_sweep(*labels),
    )


def _against_sparsegpt(sample: Sample) -> Measurement:
    """Compare a swap search with 0.65 times SparseGPT; ALPS is shown beside them."""
    swap, published = sample.held_out("swap"), sample.held_out("sparsegpt")
    return Measurement(swap, 0.65 * published, extras={"SparseGPT": published, "ALPS": sample.held_out("alps")})


held_out_error = _claim(
    "held_out_error",
    "On fresh texts the swap search has at most 0.65 times the error of SparseGPT at 2:4.",
    r"\text{error}_{\text{swap}} \le 0.65\ \text{error}_{\text{SparseGPT}} \quad \text{(2:4, held-out texts)}",
    "0.55 to 0.6 times the error of SparseGPT, as ALPS has",
    _against_sparsegpt,
    0.5 / 0.65,
    ("swap search", "0.65 times SparseGPT"),
)


def _against_alps(sample: Sample) -> Measurement:
    """Compare a swap search with ALPS from both sides."""
    swap, published = sample.held_out("swap"), sample.held_out("alps")
    found = Measurement.chain(0.95 * published, swap, {"1.03 times ALPS": 1.03 * published})
    return replace(found, extras={**found.extras, "ALPS": published})


def _clearly_better_than_alps(sample: Sample) -> Measurement:
    """Expect what the swap search gains over other methods to be a gain over ALPS."""
    return Measurement(sample.held_out("swap"), 0.95 * sample.held_out("alps"))


held_out_tie = _claim(
    "held_out_tie",
    "On fresh texts the swap search and the published ALPS agree within 5 %.",
    r"0.95\ \text{error}_{\text{ALPS}} \le \text{error}_{\text{swap}} \le 1.03\ \text{error}_{\text{ALPS}}"
    r" \quad \text{(2:4, held-out texts)}",
    "a gain of some 2 % over ALPS (Meng et al., 2406.07831), no more",
    _against_alps,
    _clearly_better_than_alps,
    ("0.95 times ALPS", "swap search"),
)


def _refitted_wanda(sample: Sample) -> Measurement:
    """Compare Wanda's mask after least squares with 0.9 times SparseGPT."""
    found, published = sample.held_out("wanda", refit=True), sample.held_out("sparsegpt")
    others = {"Wanda": sample.held_out("wanda"), "SparseGPT": published, "swap search": sample.held_out("swap")}
    return Measurement(found, 0.9 * published, extras=others)


def _mask_does_not_matter(sample: Sample) -> Measurement:
    """Expect a refit to make up for the mask."""
    return Measurement(sample.held_out("wanda", refit=True), 1.1 * sample.held_out("swap"))


refitted_wanda = _claim(
    "refitted_wanda",
    "On fresh texts Wanda's mask with exact least squares beats SparseGPT at 2:4.",
    r"\text{error}_{\text{Wanda, refitted}} \le 0.9\ \text{error}_{\text{SparseGPT}}"
    r" \quad \text{(2:4, held-out texts)}",
    "much of what SparseGPT loses is the missing refit",
    _refitted_wanda,
    _mask_does_not_matter,
    ("Wanda, refitted", "0.9 times SparseGPT"),
)


def _gap(sample: Sample) -> Measurement:
    """Compare the error on the texts of the fit, and 5 % more, with that on fresh ones."""
    seen, unseen = sample.calibration("swap"), sample.held_out("swap")
    others = {"Wanda, fit": sample.calibration("wanda"), "Wanda, fresh": sample.held_out("wanda")}
    return Measurement(1.05 * seen, unseen, extras={"swap search, fit": seen, **others})


def _gap_of_a_mask(sample: Sample) -> Measurement:
    """Expect the same of a mask without a refit."""
    return Measurement(1.05 * sample.calibration("wanda"), sample.held_out("wanda"))


calibration_gap = _claim(
    "calibration_gap",
    "Refitted coefficients fit their calibration texts better than fresh ones; a mask alone does not.",
    r"1.05\ \text{error}_{\text{swap}}(\text{calibration}) \le \text{error}_{\text{swap}}(\text{held out})"
    r" \quad \text{(2:4)}",
    "least squares on some 6000 tokens for 384 inputs",
    _gap,
    _gap_of_a_mask,
    ("1.05 times the error on texts of the fit", "error on fresh texts"),
)
