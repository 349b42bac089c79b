"""Claims about the audit of local privacy: it accuses no private mechanism, and catches what it says it catches."""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from hypothesis import strategies as st
from scipy.special import expit

from sparsetheory.privacy import audit_channel, audit_pure, detectable_eps
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array, Int64Array

_ALPHA = 0.05
_PROMISE = 1.0
_POWER = 0.95
_DRAWS = (500.0, 2000.0, 8000.0)


@dataclass(frozen=True)
class _Channel:
    """A mechanism with finitely many outputs, draws per input, and a seed of the draws."""

    probabilities: Float64Array
    n_samples: int
    seed: int

    def encode(self, number: int, n: int, rng: np.random.Generator) -> Int64Array:
        return rng.choice(self.probabilities.shape[1], size=n, p=self.probabilities[number])


def _draw_channel(rng: np.random.Generator, n_samples: float) -> _Channel:
    """Draw a channel of 2 to 4 inputs and 2 to 12 outputs, some of them rare."""
    shape = int(rng.integers(2, 5)), int(rng.integers(2, 13))
    weights = rng.gamma(rng.choice([0.5, 2.0, 20.0]), size=shape) + 0.01
    return _Channel(weights / weights.sum(axis=1, keepdims=True), int(n_samples), int(rng.integers(2**32)))


def _lower_bound(channel: _Channel) -> Measurement:
    """Compare the lower bound of an audit with the exact eps, the worst ratio in the table of probabilities.

    The event of each pair of inputs is chosen by other draws than those that count it, so the counts are binomial.
    Each of the two limits of each pair is missed with probability alpha over twice the number of ordered pairs at
    most. Where none is missed, the ratio of the limits is at most a ratio of probabilities of one event.
    """
    exact = audit_channel(channel.probabilities).eps
    audit = audit_pure(
        channel.encode,
        range(len(channel.probabilities)),
        eps=_PROMISE,
        n_samples=channel.n_samples,
        alpha=_ALPHA,
        random_state=channel.seed,
    )
    return Measurement(audit.eps_lower, exact)


def _largest_ratio_seen(channel: _Channel) -> Measurement:
    """Take the largest ratio of counts instead, over outputs that both inputs gave: chosen and counted at once."""
    rng = np.random.default_rng(channel.seed)
    n_inputs, n_outputs = channel.probabilities.shape
    counts = [
        np.bincount(channel.encode(i, channel.n_samples, rng), minlength=n_outputs) / channel.n_samples
        for i in range(n_inputs)
    ]
    ratios = [
        float(np.log(first[both] / second[both]).max(initial=0.0))
        for first, second in permutations(counts, 2)
        for both in [(first > 0) & (second > 0)]
    ]
    return Measurement(max(ratios), audit_channel(channel.probabilities).eps)


audit_is_sound = Claim(
    name="local_privacy.audit_is_sound",
    summary="The audit's lower bound of eps exceeds the true eps with probability alpha at most.",
    statement=r"P(\hat\varepsilon_{\mathrm{lower}} \le \varepsilon) \ge 1 - \alpha \text{ for every mechanism}",
    source=Source.ours("exact binomial limits at events that other draws have chosen, shared among all ordered pairs"),
    verdict=WithProbability(1 - _ALPHA),
    evaluate=_lower_bound,
    near_miss=_largest_ratio_seen,
    sweep=Sweep(
        axis="draws per input",
        values=_DRAWS,
        draw=_draw_channel,
        trials=400,
        quick_trials=60,
        log="x",
        measured_label="lower bound of the audit",
        bound_label="true eps",
    ),
)


@dataclass(frozen=True)
class _Response:
    """Draws per input, and a seed."""

    n_samples: int
    seed: int


def _draw_response(rng: np.random.Generator, n_samples: float) -> _Response:
    return _Response(int(n_samples), int(rng.integers(2**32)))


def _promise_refuted(drawn: _Response, share: float = 1.0) -> Measurement:
    """Compare the promise with the lower bound, for randomized response that spends what is stated to be detectable.

    Two binomial counts decide, and the probability that they lie beyond the exact limits is a sum over one of them.
    """
    stated = detectable_eps(_PROMISE, n_samples=drawn.n_samples, alpha=_ALPHA, power=_POWER)
    keep = expit(_PROMISE + share * (stated - _PROMISE))
    audit = audit_pure(
        lambda bit, n, rng: bit ^ (rng.random(n) > keep),
        [0, 1],
        eps=_PROMISE,
        n_samples=drawn.n_samples,
        alpha=_ALPHA,
        random_state=drawn.seed,
    )
    return Measurement(_PROMISE, audit.eps_lower)


audit_power = Claim(
    name="local_privacy.audit_power",
    summary="Randomized response that spends the stated detectable eps is caught 95 times in 100.",
    statement=r"P(\hat\varepsilon_{\mathrm{lower}} > \varepsilon) \ge 0.95 "
    r"\text{ where } \varepsilon_{\mathrm{true}} = \varepsilon_{\mathrm{detectable}}(n)",
    source=Source.ours("the power of two exact binomial limits, computed without simulation"),
    verdict=WithProbability(_POWER),
    instances=lambda: st.builds(_Response, st.sampled_from([int(n) for n in _DRAWS]), st.integers(0, 2**32 - 1)),
    evaluate=_promise_refuted,
    near_miss=lambda drawn: _promise_refuted(drawn, share=0.5),
    sweep=Sweep(
        axis="draws per input",
        values=_DRAWS,
        draw=_draw_response,
        trials=400,
        quick_trials=150,
        log="x",
        measured_label="promised eps",
        bound_label="lower bound of the audit",
    ),
)
