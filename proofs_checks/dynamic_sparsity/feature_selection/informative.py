"""Claim about what QuickSelection finds: pixels among columns of noise, by which digits are told apart."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.dynamic_sparsity.feature_selection.noisy_features import noisy_digits
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array, IndexArray

_SELECTED, _HIDDEN, _EPSILON, _TREES, _SEEDS, _FEW = 50, 100, 5.0, 15, 3, 2
# By how much trees do better than by columns at random, and which share of the columns are pixels.
_GAIN, _SHARE, _SHARE_EARLY = 0.08, 0.45, 0.4
_LONG = 20


@dataclass(frozen=True)
class Selection:
    """A few runs with different noise, splits and networks.

    Parameters
    ----------
    seeds : tuple of int
    n_epochs : int
    """

    seeds: tuple[int, ...]
    n_epochs: int

    @cached_property
    def means(self) -> Float64Array:
        """Accuracy by columns after all epochs, after two, and at random; and the share of pixels after all."""
        return np.mean([self._run(seed) for seed in self.seeds], axis=0)

    def _run(self, seed: int) -> tuple[float, float, float, float]:
        split = noisy_digits(seed)
        X = split.X[: split.n_train].astype(np.float32)
        selector = dynamic.QuickSelection(
            _SELECTED, n_hidden=_HIDDEN, epsilon=_EPSILON, max_iter=self.n_epochs, random_state=seed
        ).fit(X)
        late, early = (_strongest(selector.strength_path_[epoch]) for epoch in (self.n_epochs, _FEW))
        random = np.random.default_rng(seed).choice(X.shape[1], _SELECTED, replace=False)
        accuracies = [split.accuracy(columns, _TREES) for columns in (late, early, random)]
        return accuracies[0], accuracies[1], accuracies[2], float((late < split.n_real).mean())


def _strongest(strengths: Float64Array) -> IndexArray:
    return np.argsort(-strengths, kind="stable")[:_SELECTED]


def _draw(rng: np.random.Generator, n_epochs: float) -> Selection:
    return Selection(tuple(int(seed) for seed in rng.integers(2**31, size=_SEEDS)), int(n_epochs))


def _informative(case: Selection) -> Measurement:
    """Compare accuracies by the columns selected with those after two epochs and by random columns, and count pixels.

    Of 200 columns 64 are pixels, so a random choice has a share of 0.32. Strengths reach 0.6 on average.
    """
    late, early, random, share = (float(value) for value in case.means)
    least = _SHARE if case.n_epochs >= _LONG else _SHARE_EARLY
    named = {"after 2 epochs": early, "least share of pixels": least, "share of pixels": share}
    orders = (("after 2 epochs", "bound"), ("least share of pixels", "share of pixels"))
    return Measurement(random + _GAIN, late, scale=1.0, extras=named, also=orders)


def _pixels_alone(case: Selection) -> Measurement:
    """Expect nearly no noise among the columns selected."""
    return Measurement(0.8, float(case.means[3]), scale=1.0)


informative_features = Claim(
    name="dynamic_sparsity.informative_features",
    summary="After 20 epochs most features selected among columns of noise are pixels, and digits are told apart.",
    statement=r"\text{accuracy}(20) \ge \text{random} + 0.08,\ \text{accuracy}(20) > \text{accuracy}(2),"
    r" \text{share of pixels} \ge 0.45",
    source=Source.measured(
        "digits, 64 pixels and 136 columns of noise, 50 selected, 100 hidden units; means of 3 runs, trees classify"
    ),
    verdict=WithProbability(0.75, margin=0.25),
    evaluate=_informative,
    near_miss=_pixels_alone,
    sweep=Sweep(
        axis="epochs",
        values=(10.0, 20.0, 40.0),
        draw=_draw,
        trials=20,
        quick_trials=7,
        quick_values=(20.0,),
        measured_label="random columns, plus 0.08",
        bound_label="after all epochs",
        y_label="accuracy; share of pixels",
    ),
)
