"""Claims about predictions averaged over weights: what they gain, what they are unsure of, and how they are judged."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import analysis, bayesian
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Short sums in double precision; logarithms of probabilities below 1e-20 lose some digits.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Predicted:
    """A layer with random weights that classifies points, and true classes.

    Parameters
    ----------
    seed : int
    n, n_classes, n_samples : int
        Points, classes, and sets of weights.
    scale : float
        Of means and deviations of the weights.
    """

    seed: int
    n: int
    n_classes: int
    n_samples: int
    scale: float

    @cached_property
    def labels(self) -> Any:
        """Classes, some of which the predictions miss."""
        return tensor(np.random.default_rng([self.seed, 1]).integers(self.n_classes, size=self.n))

    @cached_property
    def model(self) -> Any:
        """The layer."""
        import torch

        rng = np.random.default_rng([self.seed, 2])
        layer = bayesian.BayesLinear(4, self.n_classes, dtype=torch.float64)
        sigma = self.scale * np.exp(rng.standard_normal((self.n_classes, 4)))
        with torch.no_grad():
            layer.weight.copy_(tensor(self.scale * rng.standard_normal((self.n_classes, 4))))
            layer.rho.copy_(tensor(sigma + np.log(-np.expm1(-sigma))))
        return layer

    @cached_property
    def inputs(self) -> Any:
        """Points."""
        return tensor(np.random.default_rng([self.seed, 3]).standard_normal((self.n, 4)))

    @cached_property
    def average(self) -> Any:
        """The prediction that is averaged over the sets of weights."""
        return bayesian.predict_mc(self.model, self.inputs, self.n_samples, self.seed // 2 + 1)

    @cached_property
    def single(self) -> Float64Array:
        """Probabilities under each of the same sets of weights, in an array of sets, points and classes."""
        import torch

        with torch.no_grad(), bayesian.sampling(self.model, "weights", self.seed // 2 + 1):
            return np.array([array(self.model(self.inputs).softmax(1)) for _ in range(self.n_samples)])


def _predictions() -> st.SearchStrategy[Predicted]:
    return st.builds(
        Predicted,
        seeds,
        st.integers(1, 30),
        st.integers(2, 6),
        st.integers(1, 8),
        st.sampled_from((0.1, 1.0, 5.0)),
    )


def _likelihoods(case: Predicted) -> tuple[float, float, float]:
    """Return the loss of the average, and the mean and the least of the losses of single sets of weights."""
    single = [analysis.negative_log_likelihood(tensor(probs), case.labels) for probs in case.single]
    average = analysis.negative_log_likelihood(case.average.mean, case.labels)
    return average, float(np.mean(single)), min(single)


def _averaged(case: Predicted) -> Measurement:
    """Compare losses: minus the logarithm is convex."""
    average, mean, _ = _likelihoods(case)
    return Measurement(average, mean, scale=max(mean, 1.0))


def _best(case: Predicted) -> Measurement:
    """Expect the average to be as good as the best of its members."""
    average, _, best = _likelihoods(case)
    return Measurement(average, best, scale=max(best, 1.0))


averaged_likelihood = Claim(
    name="bayesian_networks.averaged_likelihood",
    summary="The average over sets of weights has at most the mean loss of its members; it need not beat the best one.",
    statement=r"-\ln \overline{p}(y) \le \overline{-\ln p_s(y)}",
    source=Source.classic("Jensen's inequality", "minus the logarithm is convex"),
    verdict=Always(_ROUNDING),
    instances=_predictions,
    evaluate=_averaged,
    near_miss=_best,
)


def _information(case: Predicted) -> Measurement:
    """Place the mutual information between 0 and what it is a part of, and compare it with the mean divergence.

    The mean divergence of members from their average is the entropy of the average minus their mean entropy.
    """
    found = case.average
    entropy, information = array(found.entropy), array(found.mutual_information)
    divergences = (case.single * np.log(case.single / case.single.mean(axis=0))).sum(axis=2).mean(axis=0)
    error = float(np.abs(divergences - information).max())
    worst = Measurement.worst(information, np.minimum(entropy, np.log(case.n_samples)), scale=1.0)
    return worst.and_chain({"entropy": float(entropy.max()), "log classes": float(np.log(case.n_classes))}).and_chain(
        {"error of divergences": error, "no error": 0.0}
    )


def _of_entropies(case: Predicted) -> Measurement:
    """Take the mean entropy of the members for the entropy of their average."""
    mean = -(case.single * np.log(case.single)).sum(axis=2).mean(axis=0)
    return Measurement.worst(np.abs(array(case.average.entropy) - mean), 0.0, scale=1.0)


mutual_information_bounds = Claim(
    name="bayesian_networks.mutual_information_bounds",
    summary="What the weights would tell is the mean divergence of single predictions from their average, at most the "
    "entropy.",
    statement=r"0 \le I = H[\overline{p}] - \overline{H[p_s]} = \overline{\mathrm{KL}(p_s, \overline{p})}"
    r" \le \min(H[\overline{p}], \ln S), \quad H \le \ln C",
    source=Source.classic("information theory", "entropy, mutual information and divergence"),
    verdict=Always(_ROUNDING),
    instances=_predictions,
    evaluate=_information,
    near_miss=_of_entropies,
)


@dataclass(frozen=True)
class Judged:
    """Probabilities, classes, and how confidences are binned."""

    seed: int
    n: int
    n_classes: int
    scale: float
    n_bins: int
    strategy: str

    def probs(self) -> Any:
        """Return probabilities, some of which are equal."""
        rng = np.random.default_rng([self.seed, 0])
        logits = self.scale * rng.standard_normal((self.n, self.n_classes))
        logits[: self.n // 3] = logits[0]
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return tensor(odds / odds.sum(axis=1, keepdims=True))

    def labels(self) -> Any:
        """Return classes."""
        return tensor(np.random.default_rng([self.seed, 1]).integers(self.n_classes, size=self.n))

    def curve(self) -> Any:
        """Return the reliability curve."""
        return bayesian.reliability_curve(self.probs(), self.labels(), self.n_bins, self.strategy)

    def ece(self) -> float:
        """Return the calibration error, from one bin after another in NumPy."""
        probs = array(self.probs())
        confidence, right = probs.max(axis=1), (probs.argmax(axis=1) == array(self.labels())).astype(float)
        if self.strategy == "width":
            place = np.ceil(confidence * self.n_bins)
            parts = [np.flatnonzero(place == index + 1) for index in range(self.n_bins)]
        else:  # samples of one confidence share how often they are right
            right = np.array([right[confidence == value].mean() for value in confidence])
            parts = np.array_split(np.argsort(confidence), self.n_bins)
        return sum(abs(float((confidence[part] - right[part]).sum())) for part in parts) / self.n


def _bins(case: Judged) -> Measurement:
    """Add up the bins: their samples, their right predictions, and their distances from the diagonal."""
    curve, probs, labels = case.curve(), case.probs(), case.labels()
    counts, full = array(curve.counts), array(curve.counts) > 0
    shares = counts[full] / counts.sum()
    right = float(np.mean(array(probs.argmax(1)) == array(labels)))
    errors = (
        abs(float(shares @ np.abs(array(curve.confidence) - array(curve.accuracy))[full]) - case.ece()),
        abs(float(analysis.ece(probs, labels, case.n_bins, case.strategy)) - case.ece()),
        abs(float(shares @ array(curve.accuracy)[full]) - right),
        abs(float(shares @ array(curve.confidence)[full]) - float(probs.amax(1).mean())),
        abs(int(counts.sum()) - case.n),
    )
    return Measurement(max(errors), 0.0, scale=1.0)


def _equal_bins(case: Judged) -> Measurement:
    """Weight all bins equally."""
    curve = case.curve()
    full = array(curve.counts) > 0
    return Measurement(
        abs(float(np.abs(array(curve.confidence) - array(curve.accuracy))[full].mean()) - case.ece()), 0.0, scale=1.0
    )


reliability_bins = Claim(
    name="bayesian_networks.reliability_bins",
    summary="Bins of a reliability curve, weighted by their samples, add up to accuracy, confidence and calibration "
    "error.",
    statement=r"\sum_b \frac{n_b}{n} |\mathrm{acc}_b - \mathrm{conf}_b| = \mathrm{ECE}, \quad \sum_b n_b = n, \quad"
    r" \sum_b \frac{n_b}{n} \mathrm{acc}_b = \mathrm{acc}",
    source=Source.classic("DeGroot, Fienberg (1983)", "reliability diagram"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.builds(
        Judged,
        seeds,
        st.integers(1, 60),
        st.integers(2, 6),
        st.sampled_from((0.1, 1.0, 5.0)),
        st.integers(1, 20),
        st.sampled_from(("width", "mass")),
    ),
    evaluate=_bins,
    near_miss=_equal_bins,
)
