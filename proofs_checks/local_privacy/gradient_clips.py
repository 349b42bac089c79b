"""Claims about two ways to clip a gradient: how long it may be, and what that costs."""

import math
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from sparsetheory.privacy import GradientQuery, GradientSchema, sphere_scale
from sparsetheory.privacy.device.gradient import gradient_vectors
from sparsetheory.privacy.solvers.gradient_step import thresholded_step
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always, ScalesAs, WithProbability
from sparsetheory.typing import Float64Array

# Norms and products of a few dozen numbers.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class _Record:
    """One record, a round of a collection with the clips of the paper, and one with a clipped residual."""

    paper: GradientQuery
    residual: GradientQuery
    x: Float64Array
    y: float

    def norms(self) -> tuple[float, float]:
        """Return the norms of the clipped gradients, in units."""
        found = [
            np.linalg.norm(gradient_vectors(query, self.x[None], np.array([self.y]))) * query.unit
            for query in (self.paper, self.residual)
        ]
        return float(found[0]), float(found[1])

    def radii(self) -> tuple[float, float]:
        """Return the bounds that the noise of messages is made for."""
        d = len(self.paper.coef)
        return self.paper.schema.radius(d), self.residual.schema.radius(d)


def _record(d: int, n_kept: int, coef: Float64Array, x: Float64Array, y: float) -> _Record:
    clipped = GradientSchema(eps=1.0, n_features=d, n_kept=n_kept, clip_entries=3.0, clip_y=2.0)
    paper = replace(clipped, gradient_clip="paper")
    residual = replace(clipped, clip_entries=None, clip_x=math.sqrt(d) + 3.0)
    queries = [GradientQuery(schema=schema, round=0, coef=tuple(coef.tolist())) for schema in (paper, residual)]
    return _Record(queries[0], queries[1], x, y)


def _worst_record(rng: np.random.Generator, n_kept: float) -> _Record:
    """Return equal coefficients on k' features, and a record at a corner of the box that agrees with all of them."""
    d, kept = 1024, int(n_kept)
    coef = np.zeros(d)
    coef[:kept] = rng.choice([-1.0, 1.0], kept) / math.sqrt(kept)
    x = 5.0 * np.where(coef != 0, np.sign(coef), rng.choice([-1.0, 1.0], d))
    return _record(d, kept, coef, x, -5.0)


def _any_record(seed: int, kept: int, rest: int, size: float, kind: str) -> _Record:
    rng, d = np.random.default_rng(seed), kept + rest
    coef = np.zeros(d)
    coef[rng.permutation(d)[:kept]] = rng.standard_normal(kept) if kind == "random" else rng.choice([-1.0, 1.0], kept)
    coef /= np.linalg.norm(coef)
    signs = np.where(coef != 0, np.sign(coef), 1.0)
    x = size * (signs if kind == "corner" else rng.standard_normal(d))
    return _record(d, kept, coef, x, float(-size if kind == "corner" else size * rng.standard_normal()))


def _gradient_norms(record: _Record, root: bool = True) -> Measurement:
    r"""Compare the norms of clipped gradients with the radii of their messages.

    With entries of x below :math:`\tau_1` the norm of x is at most :math:`\sqrt d\,\tau_1`. The prediction is at most
    :math:`\tau_1 \|\theta\|_1 \le \tau_1 \sqrt{k'} \|\theta\|`, the response at most :math:`\tau_2`. A corner of the
    box that agrees with k' equal coefficients attains all three. A clipped residual makes the product of two clips.
    """
    radii = record.radii()
    # The mistake bounds the prediction by the norm of the coefficients and one entry, without the root of k'.
    clips = 3.0 * math.sqrt(len(record.paper.coef)) * (3.0 + 2.0)
    return Measurement.worst(record.norms(), radii if root else (clips, radii[1]))


gradient_norm = Claim(
    name="local_privacy.gradient_norm",
    summary="No clipped gradient is longer than the radius that its private message is made for.",
    statement=r"\|x (\langle x, \theta \rangle - y)\| \le \sqrt d\, \tau_1 (\sqrt{k'}\, \tau_1 \|\theta\| + \tau_2)"
    r" \text{ for } |x_j| \le \tau_1,\ |y| \le \tau_2,\ \|\theta\|_0 \le k'",
    source=Source.ours("from the norms of x and of the coefficients; attained at a corner of the box"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.builds(
        _any_record,
        st.integers(0, 2**32 - 1),
        st.integers(1, 20),
        st.integers(0, 20),
        st.sampled_from([0.1, 3.0, 100.0]),
        st.sampled_from(["random", "corner", "equal"]),
    ),
    evaluate=_gradient_norms,
    near_miss=lambda record: _gradient_norms(record, root=False),
)


def _price_of_sparsity(record: _Record) -> Measurement:
    r"""Compare the longest gradients with either clip; the noise of messages is proportional to them.

    The worst record of the paper's clip has a gradient of length :math:`\sqrt d\,\tau_1(\sqrt{k'}\,\tau_1 + \tau_2)`. A
    clipped residual does not know k'. The ratio is :math:`(\sqrt{k'}\,\tau_1 + \tau_2)` up to a constant: its slope in
    log-log scale tends to one half.
    """
    paper, _ = record.norms()
    return Measurement(paper / record.radii()[1], record.radii()[0] / record.radii()[1])


def _without_the_coefficients(record: _Record) -> Measurement:
    """Forget the prediction: bound the residual by the response alone."""
    d = len(record.paper.coef)
    return Measurement(3.0 * math.sqrt(d) * 2.0 / record.radii()[1], 1.0)


residual_clip_gain = Claim(
    name="local_privacy.residual_clip_gain",
    summary="Clipping residuals instead of records removes the root of the sparsity from the noise.",
    statement=r"R_{\mathrm{paper}} / R_{\mathrm{residual}} \propto \sqrt{k'}",
    source=Source.ours("radii of two ways to clip a gradient, attained at the worst record"),
    verdict=ScalesAs(0.5, tol=0.1),
    evaluate=_price_of_sparsity,
    near_miss=_without_the_coefficients,
    sweep=Sweep(
        axis="non-zeros of the iterates k'",
        values=(8.0, 32.0, 128.0, 512.0),
        draw=_worst_record,
        trials=20,
        quick_trials=10,
        log="xy",
        measured_label="longest gradient of the paper's clip over that of a clipped residual",
        bound_label="ratio of the radii",
    ),
)


@dataclass(frozen=True)
class _Contest:
    """One problem for two ways to clip: sparse coefficients of norm one, isotropic features, a seed of the noise."""

    n_samples: int
    seed: int


_CONTEST_FEATURES, _CONTEST_NONZERO, _CONTEST_NOISE = 50, 4, 0.5


def _error(contest: _Contest, clip: str, n_rounds: int, ratio: int) -> float:
    r"""Return the error of one run with normal features, from the law of its released gradients.

    The clips of features are so wide that they cut fewer than one record in 10^4. The mean gradient is then
    :math:`\theta - \theta^*`, and with a residual cut at :math:`\rho` that times
    :math:`P(|r| \le \rho)`, by Stein's identity. A message has a second moment of :math:`(B^2 / d) I`, so that the mean
    of m users has that over m as its covariance, but for the square of the mean; millions of users make it normal.
    """
    d, k = _CONTEST_FEATURES, _CONTEST_NONZERO
    rng = np.random.default_rng(contest.seed)
    truth = np.zeros(d)
    truth[rng.permutation(d)[:k]] = rng.choice([-1.0, 1.0], k) / math.sqrt(k)
    wide = math.sqrt(2 * math.log(contest.n_samples))
    spread = math.hypot(1.0, _CONTEST_NOISE)
    schema = GradientSchema(
        eps=1.0,
        n_features=d,
        gradient_clip=clip,
        clip_x=math.sqrt(d) + 3.0,
        clip_entries=wide,
        clip_y=wide,
        clip_residual=3 * spread,
        n_kept=ratio * k,
        n_rounds=n_rounds,
    )
    std = sphere_scale(d, schema.eps, schema.radius(d)) / math.sqrt(d * (contest.n_samples // n_rounds))
    coef = np.zeros(d)
    for _ in range(n_rounds):
        gradient = coef - truth
        if clip == "residual":
            residual = math.hypot(float(np.linalg.norm(gradient)), _CONTEST_NOISE)
            gradient = gradient * math.erf(3 * spread / residual / math.sqrt(2))
        coef = thresholded_step(coef, gradient + std * rng.standard_normal(d), 1.0, schema.n_kept, 1.0)
    final = thresholded_step(coef, np.zeros(d), 1.0, k, 1.0)
    return float(np.linalg.norm(final - truth))


def _few_clipped_rounds(contest: _Contest) -> Measurement:
    """Compare two and three rounds with clipped residuals with the settings of the paper.

    Those are k' = 8k, log n rounds, and clips of the order of the largest of n normal numbers. Answering zero errs by
    one.
    """
    rounds = math.ceil(math.log(contest.n_samples))
    paper = _error(contest, "paper", rounds, 8)
    residual = max(_error(contest, "residual", n_rounds, 2) for n_rounds in (2, 3))
    return Measurement(residual, paper, extras={"answering zero": 1.0})


def _few_rounds_alone(contest: _Contest) -> Measurement:
    """Say that few rounds are all of the gain, whatever is clipped."""
    return Measurement(_error(contest, "paper", 2, 2), _error(contest, "residual", 2, 2))


residual_clip_wins = Claim(
    name="local_privacy.residual_clip_wins",
    summary="Two or three rounds with clipped residuals beat the published settings, as answering zero does.",
    statement=r"\|\hat\theta_{\mathrm{residual}} - \theta^*\| \le \|\hat\theta_{\mathrm{paper}} - \theta^*\|"
    r" \text{ at } d = 50,\ k = 4,\ \varepsilon = 1",
    source=Source.measured("simulated aggregate, isotropic normal features"),
    verdict=WithProbability(0.9),
    evaluate=_few_clipped_rounds,
    near_miss=_few_rounds_alone,
    sweep=Sweep(
        axis="number of users n",
        values=(8e5, 3.2e6, 1.28e7),
        draw=lambda rng, n: _Contest(int(n), int(rng.integers(2**32))),
        trials=200,
        quick_trials=50,
        log="xy",
        measured_label="clipped residual, the worse of 2 and 3 rounds",
        bound_label="settings of the paper",
        y_label="error of the coefficients",
    ),
)
