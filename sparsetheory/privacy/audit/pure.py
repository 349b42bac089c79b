"""Statistical audit of pure and approximate local privacy: a lower bound of eps that holds with confidence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from scipy.special import expit

from sparsetheory.constraints import generator
from sparsetheory.privacy.audit.cells import Cells, are_discrete, statistic_cells, value_cells
from sparsetheory.privacy.audit.events import Split, best_set, counted_rates
from sparsetheory.privacy.audit.frontiers import (
    detectable_eps,
    expected_eps_lower,
    power_in_words,
    pure_bound,
    pure_level,
)
from sparsetheory.privacy.audit.messages import draw, statistic_values
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["PureAudit", "audit_pure"]

Encode = Callable[[Any, int, np.random.Generator], Any]
"""encode(input, n, rng) returns n independent messages for one input."""

Statistic = Callable[[AnyArray, Any, Any], Any]
"""statistic(messages, input, other) returns one number per message: how much it speaks for the first input."""


@dataclass(frozen=True)
class PureAudit:
    """What an audit of eps found.

    Parameters
    ----------
    eps : float
        The promise.
    delta : float
        The promise beside it.
    eps_lower : float
        Lower bound of the true eps, wrong with probability at most `alpha`; the largest over all pairs.
    violated : bool
        Whether `eps_lower` exceeds `eps`. False is no proof of privacy.
    pair : tuple of int
        Numbers of the two inputs; the event is likelier under the first.
    event : str
        The event that tells them apart.
    n_samples : int
        Draws per input, half of which were counted.
    alpha : float
        Probability of a false alarm.
    expected_eps_lower : float
        What randomized response that spends exactly `eps` would give: an `eps_lower` far below it says that the audit
        found no good event, or that the mechanism spends less.
    detectable_eps : float
        The smallest true eps of randomized response that would have been noticed with probability 0.95.
    eps_lowers : array, shape (n_inputs, n_inputs)
        The lower bound of each ordered pair of inputs; all hold at once. Zero on the diagonal.
    """

    eps: float
    delta: float
    eps_lower: float
    violated: bool
    pair: tuple[int, int]
    event: str
    n_samples: int
    alpha: float
    expected_eps_lower: float
    detectable_eps: float
    eps_lowers: Float64Array = field(repr=False, compare=False)

    def __str__(self) -> str:
        verdict = "VIOLATED" if self.violated else "not refuted"
        promise = f"eps = {self.eps:g}" + f", delta = {self.delta:g}" * (self.delta > 0)
        return (
            f"{promise}: {verdict}. True eps >= {self.eps_lower:.4f} (confidence {1 - self.alpha:g}),\n"
            f"from inputs {self.pair[0]} and {self.pair[1]}, event: {self.event}.\n"
            + power_in_words("eps", self.expected_eps_lower, self.detectable_eps, self.n_samples, "randomized response")
        )


def audit_pure(
    encode: Encode,
    inputs: Sequence[Any] | np.ndarray,
    *,
    eps: float,
    n_samples: int,
    alpha: float = 1e-3,
    delta: float = 0.0,
    statistic: Statistic | None = None,
    random_state: Any = None,
) -> PureAudit:
    """Try to refute that a randomizer is (eps, delta)-private for every ordered pair of some inputs.

    Messages are drawn for each input. On the first half an event is chosen for each ordered pair of inputs; on the
    second half it is counted. So the choice costs no confidence. Exact binomial limits, shared among all pairs, turn
    the two counts into a lower bound of ln((P(event | first) - delta) / P(event | second)). A randomizer that is
    (eps, delta)-private has no such value above eps.

    Parameters
    ----------
    encode : callable
        ``encode(input, n, rng)`` returns n independent messages for one input: an array of bits, integers or real
        numbers whose first axis has length n. Everything public, such as a direction, must be fixed or part of the
        message.
    inputs : sequence
        At least two inputs, of any kind that `encode` takes. Give corners, neighbours, ties, zero, and inputs beyond
        the clip, not only opposite corners.
    eps : float
        The promise, in (0, 20].
    n_samples : int
        Draws per input, at least 100.
    alpha : float
        Probability of a false alarm, all pairs together.
    delta : float
        The promise beside `eps`, in [0, 1).
    statistic : callable or None
        ``statistic(messages, input, other)`` returns one number per message, for example a logarithm of the ratio of
        likelihoods; messages are n x length. None tries the projection on the difference of the mean messages,
        the squared norm, and, where messages take few values, sets of values ordered by likelihood ratio.
    random_state : int, Generator or None
        Makes the draws of `encode` reproducible, as far as it uses them.

    Returns
    -------
    PureAudit

    Raises
    ------
    ValueError
        If a parameter is out of range, or `encode` returns something else than n finite messages.

    Notes
    -----
    The audit is sound for any randomizer: a correct one is called violated with probability at most `alpha`. It is not
    complete. It sees the inputs it was given and events of few cells or one statistic, and a rare event needs many
    draws. For tiny delta it is blind to a noise that is too small; :func:`audit_gdp` is not.
    The cost is n_inputs n_samples draws and n_inputs^2 sorts of the statistic.

    References
    ----------
    Bounds of this kind are due to Ding et al., "Detecting violations of differential privacy" (2018), and Jagielski,
    Ullman and Oprea, "Auditing differentially private machine learning" (2020).

    Examples
    --------
    Randomized response that keeps a bit with probability 0.8 spends ln 4 = 1.386.

    >>> from sparsetheory.privacy import audit_pure
    >>> def encode(bit, n, rng):
    ...     return bit ^ (rng.random(n) > 0.8)
    >>> audit = audit_pure(encode, [0, 1], eps=1.0, n_samples=20_000, random_state=0)
    >>> audit.violated, 1.0 < audit.eps_lower < 1.386
    (True, True)
    """
    n_inputs = len(inputs)
    level = pure_level(eps, n_samples, alpha, delta, n_inputs)
    rng = generator(random_state)
    drawn = draw([("encode", partial(encode, inputs[i])) for i in range(n_inputs)], n_samples, rng)
    bound, split = pure_bound(delta), Split(n_samples)
    shared = [value_cells(drawn, "message")] if statistic is None and are_discrete(drawn) else []
    lowers, events = np.zeros((n_inputs, n_inputs)), {}
    for pair in combinations(range(n_inputs), 2):
        candidates = shared + _candidates(drawn, pair, inputs, split, statistic)
        for first, second in (pair, pair[::-1]):
            options = [best_set(cells, (first, second), split, level, bound) for cells in candidates]
            chosen = max(range(len(options)), key=lambda number, o=options: o[number][0])  # type: ignore[misc]
            cells, (_, members) = candidates[chosen], options[chosen]
            low, high = counted_rates(cells, members, (first, second), split, level)
            lowers[first, second] = max(float(bound(low, high)), 0.0)
            events[first, second] = (cells, members)
    worst = np.unravel_index(int(np.argmax(lowers + np.where(np.eye(n_inputs), -1.0, 0.0))), lowers.shape)
    pair = (int(worst[0]), int(worst[1]))
    cells, members = events[pair]
    return PureAudit(
        eps=float(eps),
        delta=float(delta),
        eps_lower=float(lowers[pair]),
        violated=bool(lowers[pair] > eps),
        pair=pair,
        event=cells.describe(members),
        n_samples=n_samples,
        alpha=alpha,
        expected_eps_lower=expected_eps_lower(float(expit(eps)), split.n_counted, level, delta),
        detectable_eps=detectable_eps(eps, n_samples=n_samples, alpha=alpha, delta=delta, n_inputs=n_inputs),
        eps_lowers=lowers,
    )


def _candidates(
    drawn: Mapping[int, AnyArray],
    pair: tuple[int, int],
    inputs: Sequence[Any] | np.ndarray,
    split: Split,
    statistic: Statistic | None,
) -> list[Cells]:
    """Cells of the statistics that may tell two inputs apart."""
    if statistic is not None:
        first, second = (inputs[i] for i in pair)
        return [_cells(drawn, pair, split, "statistic", lambda rows: statistic(rows, first, second))]
    direction = np.subtract(*(drawn[i][split.learn].mean(axis=0, dtype=np.float64) for i in pair))
    return [
        _cells(drawn, pair, split, "projection on the difference of means", lambda rows: rows @ direction),
        _cells(drawn, pair, split, "squared norm", lambda rows: np.einsum("ij,ij->i", rows, rows, dtype=np.float64)),
    ]


def _cells(
    drawn: Mapping[int, AnyArray], pair: tuple[int, int], split: Split, words: str, statistic: Callable[[AnyArray], Any]
) -> Cells:
    return statistic_cells({i: statistic_values(statistic(drawn[i]), len(drawn[i])) for i in pair}, split.learn, words)
