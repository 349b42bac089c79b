"""Claims about random search on handwritten digits: it does what chance predicts, and training forgets it."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from sparsetheory.gpu import core, search
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_search.random_masks.digits_pairs import DIGITS, N_PAIRS, pairs, split
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import IndexArray

_CHOSEN, _SLACK, _GAIN = 6, 0.01, 0.03


@dataclass(frozen=True, eq=False)
class Pairs:
    """Some of the pairs of networks of one density."""

    density: float
    chosen: IndexArray

    def difference(self) -> tuple[float, float]:
        """Return by how much searched masks are better on average, and the standard error of that."""
        found = pairs(self.density).differences.numpy()[self.chosen]
        return float(found.mean()), float(found.std(ddof=1) / np.sqrt(len(found)))


def _draw_pairs(rng: np.random.Generator, density: float) -> Pairs:
    return Pairs(density, rng.choice(N_PAIRS, _CHOSEN, replace=False))


def _neutral(case: Pairs) -> Measurement:
    """Compare the size of the mean difference with two standard errors and 1 %; scores fall below their mean."""
    mean, error = case.difference()
    all_pairs = pairs(case.density)
    found = Measurement(abs(mean), 2 * error + _SLACK, scale=1.0)
    fall = float((all_pairs.mean_scores - all_pairs.best_scores).min())
    return found.and_chain({"0": 0.0, "least fall of the initial loss": fall})


def _gains(case: Pairs) -> Measurement:
    """Expect that the best of 100 untrained networks is better by 3 % once trained."""
    return Measurement(_GAIN, case.difference()[0], scale=1.0)


neutral = Claim(
    name="sparse_search.neutral",
    summary="The best of 100 random masks before training is no better than one random mask after it.",
    statement=r"\Big|\frac{1}{n} \sum_{i \le n} \left(a_i^{\text{searched}} - a_i^{\text{random}}\right)\Big|"
    r" < 2\, \mathrm{se} + 0.01",
    source=Source.measured(
        f"digits, two hidden layers of 256, {DIGITS.n_steps} steps of Adam; each trial takes {_CHOSEN} of {N_PAIRS} "
        "pairs, after Farahani (2403.08265)"
    ),
    verdict=WithProbability(0.8, margin=0.2),
    evaluate=_neutral,
    near_miss=_gains,
    sweep=Sweep(
        axis="share of the nodes of hidden layers",
        values=(0.1, 0.25, 0.5),
        draw=_draw_pairs,
        trials=40,
        quick_trials=14,
        quick_values=(0.1, 0.25),
        measured_label="|mean difference of accuracies|",
        bound_label="2 standard errors + 0.01",
        y_label="accuracy; nats",
    ),
)

_POPULATION, _RATE, _ROWS = 1500, 0.9, 20


@cache
def _population() -> tuple[float, ...]:
    """Return sorted initial losses of many random masks of one small network for digits."""
    with one_thread():
        return tuple(_search(_POPULATION, 0).scores.sort().values.tolist())


def _search(n_candidates: int, seed: int) -> "search.SearchResult":
    x, labels = (part[:_ROWS] for part in split(DIGITS).train)
    model = core.models.MLP([64, 32, 10], generator=0)
    return search.random_mask_search(
        model, search.NodeSampler(0.25), lambda masked: core.class_loss(masked(x), labels), n_candidates, seed
    )


@dataclass(frozen=True, eq=False)
class Sample:
    """A search with a number of candidates, from a seed."""

    n_candidates: int
    seed: int

    def best(self) -> float:
        """Return the lowest initial loss."""
        with one_thread():
            return float(_search(self.n_candidates, self.seed).scores.min())

    def quantile(self, p: float) -> float:
        """Return the p-quantile of initial losses of random masks, estimated from many."""
        return _population()[min(int(p * _POPULATION), _POPULATION - 1)]


def _draw_sample(rng: np.random.Generator, n_candidates: float) -> Sample:
    return Sample(int(n_candidates), int(rng.integers(1, 2**31)))


def _below(sample: Sample) -> Measurement:
    r"""Compare the best of N with the quantile of :math:`p = 1 - 0.1^{1/N}`, which it is below in 9 of 10 searches."""
    p = 1 - (1 - _RATE) ** (1 / sample.n_candidates)
    return Measurement(sample.best(), sample.quantile(p), scale=1.0, extras={"median": sample.quantile(0.5)})


def _below_the_share(sample: Sample) -> Measurement:
    """Expect the best of N below the quantile of 1 / (2 N): as if masks were a grid over the ranks."""
    return Measurement(sample.best(), sample.quantile(1 / (2 * sample.n_candidates)), scale=1.0)


best_of_n_quantile = Claim(
    name="sparse_search.best_of_n_quantile",
    summary="The best of N random masks is below the p-quantile of all scores with probability 1 - (1 - p)^N.",
    statement=r"P\Big(\min_{i \le N} \ell(m_i) \le F^{-1}(p)\Big) = 1 - (1 - p)^N, \quad p = 1 - 0.1^{1/N}",
    source=Source.classic("folklore", "order statistics of independent draws"),
    verdict=WithProbability(_RATE),
    evaluate=_below,
    near_miss=_below_the_share,
    sweep=Sweep(
        axis="number N of random masks",
        values=(3.0, 10.0, 30.0),
        draw=_draw_sample,
        trials=400,
        quick_trials=220,
        quick_values=(3.0, 10.0),
        measured_label="best initial loss",
        bound_label="quantile that 9 of 10 are below",
        log="x",
        y_label="loss of the untrained network, in nats",
    ),
)
