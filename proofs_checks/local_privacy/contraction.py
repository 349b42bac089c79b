"""Claims about how little of a record passes a private channel."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from hypothesis import strategies as st

from sparsetheory.privacy.planning import bounds
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Sums over at most a few hundred records and answers, and an eigenvalue of a small matrix.
_ROUNDING = 1e-11


@dataclass(frozen=True, eq=False)
class _Channel:
    """Records with weights, scores of mean zero, and the chances of every answer given every record."""

    eps: float
    weights: Float64Array
    scores: Float64Array
    chances: Float64Array

    def information(self) -> Float64Array:
        """Return the information of a record: the covariance of the scores."""
        return (self.scores.T * self.weights) @ self.scores

    def information_of_answers(self) -> float:
        """Return the trace of the information of an answer, the mean squared norm of the score that it predicts."""
        likely = self.weights @ self.chances
        predicted = (self.scores.T * self.weights) @ self.chances
        return float(np.sum(predicted**2 / likely))


def _private(rng: np.random.Generator, eps: float, n_records: int, n_answers: int) -> Float64Array:
    """Draw chances whose ratios are at most e^eps.

    Powers of e^eps between 0 and 1/2 or 1 before normalising: a sum of them has a ratio of at most e^(eps/2).
    """
    powers = (
        rng.choice([0.0, 1.0], (n_records, n_answers)) if rng.random() < 0.7 else rng.random((n_records, n_answers))
    )
    chances = np.exp(eps * powers / 2) * rng.exponential(size=n_answers)
    return chances / chances.sum(axis=1, keepdims=True)


def _subset_selection(eps: float, n_records: int) -> Float64Array:
    """Answer with a record, more probably with one of a few that contain the own one: all cyclic intervals of them.

    Each interval holds a share of about 1 / (1 + e^eps) of the records, so that all answers are equally likely. Ratios
    of chances are at most e^eps without a normalising sum that depends on the record.
    """
    size = int(np.clip(round(n_records / (1 + math.exp(eps))), 1, n_records - 1))
    offsets = np.subtract.outer(np.arange(n_records), np.arange(n_records)) % n_records
    chances = np.where(offsets < size, math.exp(eps), 1.0)
    return chances / chances.sum(axis=1, keepdims=True)


def _draw(rng: np.random.Generator, eps: float, kind: str, n_records: int) -> _Channel:
    if kind == "random":
        chances = _private(rng, eps, n_records, int(rng.integers(2, 9)))
        weights = rng.dirichlet(np.full(n_records, 0.5)) + 1e-3
        weights /= weights.sum()
        scores = rng.standard_normal((n_records, int(rng.integers(1, 5))))
    else:
        chances = _subset_selection(eps, n_records)
        weights = np.full(n_records, 1 / n_records)
        scores = np.sqrt(n_records) * np.eye(n_records)
        if kind == "circle":  # an interval of records points somewhere
            angles = 2 * np.pi * np.arange(n_records) / n_records
            scores = np.column_stack([np.cos(angles), np.sin(angles)])
    return _Channel(eps, weights, scores - weights @ scores, chances)


def _channels() -> st.SearchStrategy[_Channel]:
    return st.builds(
        lambda eps, kind, n_records, seed: _draw(np.random.default_rng(seed), eps, kind, n_records),
        st.floats(0.05, 6.0),
        st.sampled_from(["random", "circle", "simplex"]),
        st.integers(2, 40),
        st.integers(0, 2**32 - 1),
    )


def _contraction(channel: _Channel) -> Measurement:
    r"""Compare the information of an answer with that of the record.

    Let S be the score of a record, of mean zero and covariance I, and p a law of records. For one answer with chances
    q between q_min and e^eps q_min, write q = q_min (1 + a f) with a = e^eps - 1 and 0 <= f <= 1. The constant drops
    out of E S q = q_min a E S f, and f can be centred. Hence

        |E S q|^2 <= q_min^2 a^2 lambda_max(I) Var f,  Var f <= t (1 - t),  t = E f,

    while the answer has the probability q_min (1 + a t). Over all t the ratio a^2 t (1 - t) / (1 + a t)^2 is largest at
    t = 1 / (2 + a), where it is a^2 / (4 (1 + a)) = sinh^2(eps / 2). Times the probabilities of the answers, the sum is
    at most sinh^2(eps / 2) lambda_max(I). It is at most the trace of I by the inequality of Jensen, as for any channel.
    """
    information = channel.information()
    largest = float(np.linalg.eigvalsh(information)[-1])
    bound = min(bounds.information_contraction(channel.eps) * largest, float(np.trace(information)))
    return Measurement(channel.information_of_answers(), bound, scale=float(np.trace(information)))


def _contraction_of_small_budgets(channel: _Channel) -> Measurement:
    """Take the value eps^2 / 4 that the constant has for small eps, which is too small for every eps."""
    measurement = _contraction(channel)
    return measurement.with_bound(channel.eps**2 / 4 / bounds.information_contraction(channel.eps))


information_contraction = Claim(
    name="local_privacy.information_contraction",
    summary="A private message carries at most sinh(eps/2) squared of the largest information in a record, in trace.",
    statement=r"\operatorname{tr} I_Z \le \min(\sinh^2(\varepsilon/2)\, \lambda_{\max}(I_X),"
    r" \operatorname{tr} I_X) \text{ for every } \varepsilon \text{-private channel}",
    source=Source.ours("contraction of Fisher information by local privacy"),
    verdict=Always(_ROUNDING),
    instances=_channels,
    evaluate=_contraction,
    near_miss=_contraction_of_small_budgets,
    sweep=Sweep(
        axis="eps",
        values=(0.25, 0.5, 1.0, 2.0, 3.0, 4.0),
        draw=lambda rng, eps: _draw(rng, eps, "simplex", 120),
        trials=1,
        quick_trials=1,
        log="xy",
        measured_label="subset selection",
        bound_label="bound",
        y_label="trace of the information of a message",
    ),
)


@dataclass(frozen=True, eq=False)
class _Family:
    """Sparse linear models of responses in {-1, 1}, and a channel for records (x, y) of signs.

    The features are split into `n_nonzero` blocks. Coefficients are plus or minus `norm` over the root of `n_nonzero`
    at one place of each block.
    """

    eps: float
    n_nonzero: int
    norm: float
    records: Float64Array
    chances: Float64Array

    @property
    def n_features(self) -> int:
        return self.records.shape[1] - 1

    def coefficients(self) -> Float64Array:
        """Return all of them, one per row."""
        block = self.n_features // self.n_nonzero
        signed = np.vstack([np.eye(block), -np.eye(block)]) * self.norm / math.sqrt(self.n_nonzero)
        return np.array([np.concatenate(parts) for parts in product(signed, repeat=self.n_nonzero)])

    def chi_square(self, theta: Float64Array) -> float:
        """Return the chi-square divergence of an answer at some coefficients from one at zero."""
        x, y = self.records[:, :-1], self.records[:, -1]
        law = (1 + y * (x @ theta)) / len(self.records)
        answers, at_zero = law @ self.chances, self.chances.mean(axis=0)
        return float(np.sum((answers - at_zero) ** 2 / at_zero))


def _one_bit(rng: np.random.Generator, eps: float, agreement: Float64Array) -> Float64Array:
    """Answer whether a record agrees with a direction, or seldom say so, and then mostly to records that do."""
    if rng.random() < 0.5:
        agrees = np.column_stack([agreement > 0, agreement <= 0])
        return np.exp(eps * agrees) / (1 + math.exp(eps))
    top = agreement >= np.quantile(agreement, 1 - 1 / (1 + math.exp(eps)))
    seldom = 1e-3 * np.exp(eps * top)  # at most 0.41 for eps up to 6, so that silence is no secret either
    return np.column_stack([seldom, 1 - seldom])


def _draw_family(rng: np.random.Generator, eps: float, kind: str, n_nonzero: int, block: int) -> _Family:
    d = n_nonzero * block
    records = np.array(list(product([-1.0, 1.0], repeat=d + 1)))
    if kind == "one bit":
        direction = rng.standard_normal(d) if rng.random() < 0.5 else np.eye(d)[rng.integers(d)]
        chances = _one_bit(rng, eps, records[:, -1] * (records[:, :-1] @ direction))
    else:
        chances = _private(rng, eps, len(records), int(rng.integers(2, 7)))
    return _Family(eps, n_nonzero, float(rng.choice([0.3, 1.0])) / math.sqrt(n_nonzero), records, chances)


def _sign_of_one_feature(eps: float, n_nonzero: int, block: int) -> _Family:
    """Answer, by a randomised response, whether the response agrees with the first feature."""
    records = np.array(list(product([-1.0, 1.0], repeat=n_nonzero * block + 1)))
    agrees = records[:, 0] * records[:, -1] > 0
    chances = np.exp(eps * np.column_stack([agrees, ~agrees])) / (1 + math.exp(eps))
    return _Family(eps, n_nonzero, 1 / math.sqrt(n_nonzero), records, chances)


def _families() -> st.SearchStrategy[_Family]:
    return st.builds(
        lambda eps, kind, sizes, seed: _draw_family(np.random.default_rng(seed), eps, kind, *sizes),
        st.floats(0.05, 6.0),
        st.sampled_from(["one bit", "random"]),
        st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 2), (2, 3), (3, 2)]),
        st.integers(0, 2**32 - 1),
    )


def _mean_chi_square(family: _Family) -> Measurement:
    r"""Compare the mean divergence over all coefficients of the family with what privacy lets pass.

    At theta the law of (x, y) is that at zero times 1 + y <x, theta>. So the probability of an answer with chances q
    moves by <E y x q, theta>, where E is under theta = 0. Coefficients of the family have mean zero and the covariance
    norm^2 / d times the identity, for places and signs are independent and uniform. The mean divergence is therefore
    norm^2 / d times the sum of |E y x q|^2 / E q, which is the trace of the information of the answer for the score
    y x. Its covariance is the identity, and the claim on information says: at most min(sinh^2(eps / 2), d).
    """
    d = family.n_features
    measured = float(np.mean([family.chi_square(theta) for theta in family.coefficients()]))
    return Measurement(measured, family.norm**2 / d * min(bounds.information_contraction(family.eps), d))


def _as_if_each_coefficient_had_its_own_budget(family: _Family) -> Measurement:
    """Divide by the number of non-zeros once more, as if each answer were about one block."""
    return _mean_chi_square(family).with_bound(1 / family.n_nonzero)


chi_square_contraction = Claim(
    name="local_privacy.chi_square_contraction",
    summary="A private message tells sparse coefficients from zero only as well as sinh(eps/2) squared over d allows.",
    statement=r"\operatorname{mean}_\theta \chi^2(M_\theta \| M_0) \le \tfrac{\gamma^2}{d}"
    r" \min(\sinh^2(\varepsilon/2), d) \text{ over signed } k \text{-sparse } \theta \text{ of norm } \gamma",
    source=Source.ours("divergence behind the lower bound for non-interactive protocols"),
    verdict=Always(_ROUNDING),
    instances=_families,
    evaluate=_mean_chi_square,
    near_miss=_as_if_each_coefficient_had_its_own_budget,
    sweep=Sweep(
        axis="eps",
        values=(0.25, 0.5, 1.0, 2.0, 4.0),
        draw=lambda rng, eps: _sign_of_one_feature(eps, 2, 3),
        trials=1,
        quick_trials=1,
        log="xy",
        measured_label="randomised sign of one feature",
        bound_label="bound",
        y_label="mean chi-square divergence",
    ),
)
