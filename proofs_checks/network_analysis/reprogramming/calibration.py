"""Claims about calibration: bounds of its error, what batches do to it, and what a temperature leaves alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array, IndexArray

_ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits of some samples and their classes."""

    logits: Float64Array
    labels: IndexArray
    n_bins: int
    strategy: str

    @property
    def probs(self) -> Float64Array:
        """The softmax of each row."""
        odds = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def ece(self, rows: Any = slice(None)) -> float:
        """Return the calibration error of some of the samples."""
        return analysis.ece(tensor(self.probs[rows]), tensor(self.labels[rows]), self.n_bins, self.strategy)


def _draw(seed: int, n: int, n_classes: int, scale: float, skill: float, n_bins: int, strategy: str) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    logits = scale * (rng.standard_normal((n, n_classes)) + skill * np.eye(n_classes)[labels])
    return Predictions(logits.astype(np.float32).astype(float), labels, n_bins, strategy)


def _predictions(strategies: tuple[str, ...] = ("width", "mass")) -> st.SearchStrategy[Predictions]:
    return st.builds(
        _draw,
        seeds,
        st.integers(1, 60),
        st.integers(2, 6),
        st.sampled_from((0.1, 1.0, 5.0, 40.0)),
        st.sampled_from((-2.0, 0.0, 1.0, 3.0)),
        st.integers(1, 20),
        st.sampled_from(strategies),
    )


def _bounds(case: Predictions) -> Measurement:
    """Compare the error with the distance of means, with 1, and with that of shuffled and of perfect predictions.

    The error is a mean over bins of distances. By the triangle inequality it is at least the distance of the mean over
    all samples, and no distance of two shares is above 1.
    """
    found, order = case.ece(), np.random.default_rng(len(case.labels)).permutation(len(case.labels))
    right = case.logits.argmax(axis=1) == case.labels
    distance = abs(float((case.probs.max(axis=1) - right).mean()))
    sure = tensor(np.eye(case.logits.shape[1])[case.labels])
    perfect = analysis.ece(sure, tensor(case.labels), case.n_bins, case.strategy)
    chain = Measurement.chain(distance, found, {"largest": 1.0}, scale=1.0)
    shuffled = case.ece(order)
    chain = chain.and_chain({"shuffled": shuffled, "in order": found}).and_chain({"again": found, "mixed": shuffled})
    return chain.and_chain({"perfect": perfect, "nothing": 0.0})


def _of_logits(case: Predictions) -> Measurement:
    """Take the largest logit for a confidence, without a softmax."""
    right = case.logits.argmax(axis=1) == case.labels
    confidence = case.logits.max(axis=1)
    bins = np.clip(np.ceil(confidence * case.n_bins), 1, case.n_bins)
    sums = [abs((confidence - right)[bins == b].sum()) for b in np.unique(bins)]
    return Measurement(float(sum(sums)) / len(right), 1.0, scale=1.0)


calibration_error_bounds = Claim(
    name="network_analysis.calibration_error_bounds",
    summary="The calibration error lies between the distance of mean confidence and accuracy, and 1; order is no part.",
    statement=r"|\overline{\mathrm{conf}} - \mathrm{acc}| \le \mathrm{ECE} \le 1, \quad"
    r" \mathrm{ECE}(\pi) = \mathrm{ECE}, \quad \mathrm{ECE}(e_y) = 0",
    source=Source.classic("Guo, Pleiss, Sun, Weinberger (2017)", "expected calibration error, arXiv 1706.04599"),
    verdict=Always(_ROUNDING),
    instances=_predictions,
    evaluate=_bounds,
    near_miss=_of_logits,
)


def _batched(case: Predictions) -> Measurement:
    """Compare the error of all samples with the mean of those of batches, weighted by their samples.

    In a bin the sums of batches add up, and a sum of sizes is at least the size of the sum. So the errors of batches
    are on average at least that of the data set, and numbers that average them are too large.
    """
    batches = np.array_split(np.arange(len(case.labels)), min(4, len(case.labels)))
    mean = sum(len(batch) * case.ece(batch) for batch in batches) / len(case.labels)
    return Measurement(case.ece(), mean, scale=1.0)


batched_calibration_error = Claim(
    name="network_analysis.batched_calibration_error",
    summary="The mean calibration error of batches is at least that of the whole data set, and no estimate of it.",
    statement=r"\mathrm{ECE}(B_1 \cup \dots \cup B_k) \le \sum_i \frac{|B_i|}{n} \mathrm{ECE}(B_i)"
    r" \text{ in bins of equal width}",
    source=Source.ours("triangle inequality in each bin"),
    verdict=Always(_ROUNDING),
    instances=lambda: _predictions(("width",)),
    evaluate=_batched,
    near_miss=Reversed(),
)


def _tempered(case: Predictions) -> tuple[Any, Any, Any]:
    """Return logits, the same at the fitted temperature, and classes."""
    logits, labels = tensor(case.logits), tensor(case.labels)
    return logits, logits / analysis.fit_temperature(logits, labels), labels


def _loss(logits: Any, labels: Any) -> float:
    return analysis.negative_log_likelihood(logits.softmax(1), labels)


def _temperature(case: Predictions) -> Measurement:
    """Count predictions that change at the fitted temperature, and compare its likelihood with that at others."""
    logits, scaled, labels = _tempered(case)
    changed = float((array(logits.argmax(1)) != array(scaled.argmax(1))).sum())
    others = min(_loss(scaled / factor, labels) for factor in (0.5, 0.98, 1.02, 2.0))
    fitted = _loss(scaled, labels)
    # At its ends the interval of temperatures cuts off the better ones.
    inside = 2e-3 < analysis.fit_temperature(logits, labels) < 5e2
    found = Measurement(changed, 0.0, scale=1.0).and_chain({"fitted": fitted, "as it was": _loss(logits, labels)})
    return found.and_chain({"here": fitted if inside else 0.0, "other temperatures": others})


def _calibrated(case: Predictions) -> Measurement:
    """Expect the temperature of the largest likelihood to lower the calibration error too."""
    _, scaled, labels = _tempered(case)
    return Measurement(analysis.ece(scaled.softmax(1), labels, case.n_bins, case.strategy), case.ece(), scale=1.0)


temperature_predictions = Claim(
    name="network_analysis.temperature_predictions",
    summary="Dividing logits by the temperature of the largest likelihood changes no prediction.",
    statement=r"\arg\max_c z_c / T = \arg\max_c z_c, \quad \mathrm{NLL}(z / T^\ast) \le \mathrm{NLL}(z / T)",
    source=Source.classic("Guo, Pleiss, Sun, Weinberger (2017)", "temperature scaling, arXiv 1706.04599"),
    verdict=Always(_ROUNDING),
    instances=_predictions,
    evaluate=_temperature,
    near_miss=_calibrated,
)
