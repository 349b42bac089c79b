"""Claims about several private messages of one user."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.privacy import kov_composition
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Products of at most twelve probabilities, summed over at most 4096 paths; the curve itself is raised by 1e-9.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class _Dialogue:
    """The law of all answers in several rounds for one record and for another, and what is asked of it."""

    eps: float
    n_rounds: int
    total: float
    law: Float64Array
    other: Float64Array

    def divergence(self) -> float:
        """Return the smallest delta for which the total is enough, summed over all dialogues."""
        return float(np.sum(np.maximum(self.law - math.exp(self.total) * self.other, 0.0)))


def _answers(rng: np.random.Generator, eps: float, kind: str) -> tuple[Float64Array, Float64Array]:
    """Draw the chances of two or three answers for two records, with ratios of at most e^eps."""
    if kind == "response":
        truth = 1 / (1 + math.exp(-eps))
        return np.array([truth, 1 - truth]), np.array([1 - truth, truth])
    powers = rng.choice([0.0, 0.5, 1.0], (2, 3))
    # Half of eps for the powers, half for the sums that make them chances.
    chances = np.exp(eps / 2 * powers) * rng.dirichlet(np.ones(3))
    law, other = chances / chances.sum(axis=1, keepdims=True)
    return law, other


def _draw(rng: np.random.Generator, eps: float, n_rounds: int, share: float, kind: str) -> _Dialogue:
    """Draw a dialogue whose every message may be of another kind, depending on all answers before it."""
    law, other = np.ones(1), np.ones(1)
    for _ in range(n_rounds):
        longer = []
        for before, other_before in zip(law, other, strict=True):
            kinds = kind if kind != "mixed" else str(rng.choice(["response", "random"]))
            here, there = _answers(rng, eps, kinds)
            if rng.random() < 0.5 and kind == "mixed":
                here, there = there, here
            longer.append((before * here, other_before * there))
        law = np.concatenate([pair[0] for pair in longer])
        other = np.concatenate([pair[1] for pair in longer])
    return _Dialogue(eps, n_rounds, share * n_rounds * eps, law, other)


def _dialogues() -> st.SearchStrategy[_Dialogue]:
    return st.builds(
        lambda seed, eps, n_rounds, share, kind: _draw(np.random.default_rng(seed), eps, n_rounds, share, kind),
        st.integers(0, 2**32 - 1),
        st.floats(0.05, 4.0),
        st.integers(1, 6),
        st.floats(0.0, 1.0),
        st.sampled_from(["response", "random", "mixed"]),
    )


def _composed(dialogue: _Dialogue) -> Measurement:
    """Compare the divergence of all answers with the curve for as many randomised responses.

    A private message is a post-processed randomised response with the same eps: two laws with ratios of at most e^eps
    are the images of (e^eps, 1) / (1 + e^eps) and (1, e^eps) / (1 + e^eps) under one channel. This holds in every
    round, whatever was answered before. So the dialogue is post-processing of as many independent responses, and the
    divergence cannot be larger than theirs.
    """
    curve = kov_composition(dialogue.eps, dialogue.n_rounds)
    return Measurement(dialogue.divergence(), curve.delta_at(dialogue.total), scale=1.0)


def _one_round_for_nothing(dialogue: _Dialogue) -> Measurement:
    """Leave one of the rounds out of the account."""
    measurement = _composed(dialogue)
    if dialogue.n_rounds == 1:
        return measurement
    curve = kov_composition(dialogue.eps, dialogue.n_rounds - 1)
    return Measurement(measurement.measured, curve.delta_at(dialogue.total), scale=1.0)


composition = Claim(
    name="local_privacy.composition",
    summary="Several private messages, each chosen after the answers before it, reveal no more than responses would.",
    statement=r"\sum \max(P - e^{x} Q, 0) \le \sum_l \tbinom{T}{l}"
    r" \frac{\max(e^{(T - l)\varepsilon} - e^{x + l\varepsilon}, 0)}{(1 + e^\varepsilon)^T}"
    r" \text{ for } T \text{ adaptive } \varepsilon \text{-private messages}",
    source=Source.classic("Kairouz, Oh, Viswanath (2015)", "the composition theorem for differential privacy"),
    verdict=Always(_ROUNDING),
    instances=_dialogues,
    evaluate=_composed,
    near_miss=_one_round_for_nothing,
    sweep=Sweep(
        axis="number of rounds",
        values=(3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0),
        draw=lambda rng, n_rounds: _draw(rng, 0.5, int(n_rounds), 2 / n_rounds, "response"),
        trials=1,
        quick_trials=1,
        measured_label="randomised responses, summed",
        bound_label="curve",
        y_label="delta at eps = 1, of rounds with 1/2",
    ),
)
