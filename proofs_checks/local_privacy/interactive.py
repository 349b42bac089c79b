"""Claims about private regression in rounds: what its steps can lose, and what its messages can move."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st
from scipy.stats import chi2

from sparsetheory.privacy import GradientQuery, GradientRounds, GradientSchema, GradientSum, sphere_scale
from sparsetheory.privacy.collection.gradient_blocks import encode_gradients, rounds_of
from sparsetheory.privacy.device.gradient import gradient_vectors
from sparsetheory.privacy.estimators.guarantee import SeededCoin
from sparsetheory.privacy.planning.bounds import hard_threshold_nu
from sparsetheory.privacy.solvers.gradient_step import thresholded_step
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.local_privacy.thresholding import worst_vector
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

# Steps, norms and products of a few dozen numbers.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class _Run:
    """What the rounds of one collection published and received, and sparse coefficients to compare them with."""

    iterates: Float64Array
    gradients: Float64Array
    step: float
    truth: Float64Array
    n_kept: int
    norm_bound: float


def _of_messages(seed: int, k: int, more: int, rest: int, n_rounds: int) -> _Run:
    """Let a server run on messages of any content: the recursion holds whatever the users send."""
    rng, d = np.random.default_rng(seed), k + more + rest
    norm_bound = float(rng.choice([0.1, 1.0, 1e3]))
    schema = GradientSchema(
        eps=float(rng.choice([0.5, 8.0])),
        n_features=d,
        clip_x=3.0,
        clip_residual=1.0,
        norm_bound=norm_bound,
        n_kept=k + more,
        n_rounds=n_rounds,
        screen=None if rng.random() < 0.5 else k + more + int(rng.integers(rest + 1)),
        public_seed=seed,
    )
    server = GradientRounds(schema, step=float(rng.choice([0.01, 1.0])))
    users = np.arange(30, dtype=np.uint64)
    own = rounds_of(schema, users)
    while not server.finished:
        asked = users[own == server.query.round]
        server.sum.update(rng.choice([-1, 1], asked.size).astype(np.int8), asked)
        server.next_round()
    truth = np.zeros(d)
    truth[rng.permutation(d)[:k]] = rng.standard_normal(k)
    truth *= norm_bound * rng.uniform(0, 1) / np.linalg.norm(truth)
    history = server.history()
    return _Run(history.iterates, history.gradients, server.step, truth, schema.n_kept, norm_bound)


def _of_the_worst(k: int, more: int, rest: int) -> _Run:
    """Take one step to the vector that thresholding harms most; zeros stand first, so that they win ties."""
    worst = worst_vector(k + more + rest, k, k + more, 0.0)
    truth, noisy = worst.truth[::-1].copy(), worst.noisy[::-1].copy()
    norm_bound = 2.0 * float(np.linalg.norm(truth))
    moved = thresholded_step(np.zeros(truth.size), -noisy, 1.0, k + more, norm_bound)
    return _Run(np.array([np.zeros(truth.size), moved]), -noisy[None], 1.0, truth, k + more, norm_bound)


def _runs() -> st.SearchStrategy[_Run]:
    sizes = st.integers(1, 5), st.integers(0, 12), st.integers(0, 12)
    return st.one_of(
        st.builds(_of_messages, st.integers(0, 2**32 - 1), *sizes, st.integers(1, 3)), st.builds(_of_the_worst, *sizes)
    )


def _recursion(run: _Run, *, with_truth: bool = True) -> Measurement:
    r"""Compare the error after every round with that of the step on the support of iterate and truth together.

    Let v be the iterate after the step and h its k' largest entries. On the union of their support with that of the
    truth, h also holds the k' largest entries of v. So the bound of hard thresholding applies with the dimension of the
    union, which enlarges nu at most to that of all d entries. The ball is convex and holds the truth, and projecting on
    it brings nothing farther away. Iterates have at most k' non-zeros and a norm of at most C besides.
    """
    k = max(1, int(np.count_nonzero(run.truth)))
    root = math.sqrt(hard_threshold_nu(run.truth.size, k, run.n_kept))
    measured, bounds = [], []
    for before, gradient, after in zip(run.iterates[:-1], run.gradients, run.iterates[1:], strict=True):
        if not gradient.any():
            continue  # nobody spoke in this round
        distance = before - run.step * gradient - run.truth
        union = (after != 0) | (with_truth & (run.truth != 0))
        measured += [np.linalg.norm(after - run.truth), np.count_nonzero(after), np.linalg.norm(after)]
        bounds += [root * float(np.linalg.norm(distance[union])), run.n_kept, run.norm_bound]
    return Measurement.worst(measured, bounds)


iteration = Claim(
    name="local_privacy.iteration",
    summary="A private step errs by at most the root of nu times what it errs on a small support before thresholding.",
    statement=r"\|\theta_{t+1} - \theta^*\| \le \sqrt{\nu}\, \|(\theta_t - \eta \bar g_t - \theta^*)_\Omega\|,"
    r" \quad \Omega = \mathrm{supp}(\theta_{t+1}) \cup \mathrm{supp}(\theta^*), \quad \|\theta_t\|_0 \le k',"
    r" \quad \|\theta_t\| \le C",
    source=Source.ours("the tight bound of hard thresholding, on the union of two supports"),
    verdict=Always(_ROUNDING),
    instances=_runs,
    evaluate=_recursion,
    near_miss=lambda run: _recursion(run, with_truth=False),
)


_REPETITIONS, _FEATURES, _LEVEL = 25, 8, 0.01


@dataclass(frozen=True, eq=False)
class _Messages:
    """Records of the users of one round, and a seed of several repetitions of their messages."""

    X: Float64Array
    y: Float64Array
    eps: float
    seed: int

    def query(self, repetition: int) -> GradientQuery:
        """Return what users are asked; the public directions differ between repetitions."""
        schema = GradientSchema(
            eps=self.eps,
            n_features=_FEATURES,
            clip_x=3.0,
            clip_residual=1.5,
            n_kept=_FEATURES,
            public_seed=self.seed + repetition,
        )
        return GradientQuery(schema=schema, round=0, coef=(0.0,) * _FEATURES)

    @cached_property
    def vectors(self) -> Float64Array:
        """Clipped gradients, without units."""
        return gradient_vectors(self.query(0), self.X, self.y)

    @cached_property
    def released(self) -> Float64Array:
        """Released mean gradients of all repetitions, without units."""
        users, coin = np.arange(len(self.y), dtype=np.uint64), SeededCoin(self.seed)
        means = []
        for repetition in range(_REPETITIONS):
            query = self.query(repetition)
            total = GradientSum(query)
            total.update(encode_gradients(query, self.X, self.y, users, coin), users)
            means.append(total.mean() / query.unit)
        return np.array(means)


def _draw_messages(rng: np.random.Generator, n_users: float) -> _Messages:
    X = rng.standard_normal((int(n_users), _FEATURES))
    y = X @ rng.standard_normal(_FEATURES) + rng.standard_normal(int(n_users))
    return _Messages(X, y, float(rng.choice([0.5, 2.0, 8.0])), int(rng.integers(2**62)))


def _gradient_noise(messages: _Messages, share: float = 1.0 / _FEATURES) -> Measurement:
    r"""Compare squared distances of released gradients from the mean clipped gradient with chi-square.

    A message is B times a uniform point u of the sphere, times a sign. Signs do not change :math:`u u^T`, so the second
    moment of a message is :math:`(B^2 / d) I` whatever the gradient v, and its covariance is that less :math:`v v^T`.
    The mean over m users has the covariance :math:`(B^2 / (d m)) I - \sum_i v_i v_i^T / m^2`. Its inverse makes the
    distances of all repetitions together a chi-square number with as many degrees of freedom as they have entries, in
    the limit of many users. A bias would enlarge it as well.
    """
    n, vectors = len(messages.y), messages.vectors
    length = sphere_scale(_FEATURES, messages.eps)
    covariance = (length**2 * share * np.eye(_FEATURES) - vectors.T @ vectors / n) / n
    distances = messages.released - vectors.mean(axis=0)
    total = float(np.sum(distances * np.linalg.solve(covariance, distances.T).T))
    freedom = _REPETITIONS * _FEATURES
    low, high = chi2.ppf(_LEVEL / 2, freedom), chi2.isf(_LEVEL / 2, freedom)
    # In units of the half width of the interval that holds the true value with the stated confidence.
    return Measurement(abs(total - (low + high) / 2) / ((high - low) / 2), 1.0)


gradient_noise = Claim(
    name="local_privacy.gradient_noise",
    summary="The mean of m private gradients is right, with noise of variance B^2 / (d m) in every direction.",
    statement=r"\mathrm{Cov}(\bar g) = \frac{B^2}{d m} I - \frac{1}{m^2} \sum_i v_i v_i^T, \quad E \bar g ="
    r" \frac1m \sum_i v_i",
    source=Source.ours("covariance of the messages of Duchi, Jordan and Wainwright (2018)"),
    verdict=WithProbability(1 - _LEVEL, margin=0.15),
    evaluate=_gradient_noise,
    near_miss=lambda messages: _gradient_noise(messages, share=1.0),
    sweep=Sweep(
        axis="users of a round m",
        values=(30.0, 100.0, 300.0),
        draw=_draw_messages,
        trials=100,
        quick_trials=40,
        log="x",
        measured_label="distance from chi-square",
        bound_label="99 % interval",
        y_label="squared noise, in half widths of its interval",
    ),
)
