"""Claims that tie SR-STE to iterative hard thresholding: same fixed points, and none without the penalty."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.sparse_training.straight_through.quadratics import Quadratic
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_ROUNDING = 1e-9
_FEATURES, _GROUP, _KEPT = 8, 4, 2


def _all_masks() -> BoolArray:
    """Return the 36 masks of two groups of four with two entries each."""
    ones = [np.isin(np.arange(_GROUP), kept) for kept in itertools.combinations(range(_GROUP), _KEPT)]
    return np.array([np.concatenate(pair) for pair in itertools.product(ones, repeat=2)])


@dataclass(frozen=True, eq=False)
class Penalised:
    """One dense row, the Gram matrix of its inputs, and the penalty in units of the curvature."""

    gram: Float64Array
    row: Float64Array
    ratio: float
    rng_seed: int

    @cached_property
    def quadratic(self) -> Quadratic:
        """The row once for each mask."""
        return Quadratic(self.gram, np.tile(self.row, (len(_all_masks()), 1)))

    @property
    def alpha(self) -> float:
        """Penalty."""
        return self.ratio * self.quadratic.curvature

    @property
    def scale(self) -> float:
        """Size of gradients."""
        return self.quadratic.curvature * float(np.linalg.norm(self.row))

    @cached_property
    def stationary(self) -> Float64Array:
        """The best row on each mask, whose gradient is zero there."""
        return self.quadratic.refitted(_all_masks())

    def dense(self, alpha: float) -> Float64Array:
        """Return the only dense rows that can be at rest: ``s - grad f(s) / alpha``."""
        return self.stationary - self.quadratic.gradient(self.stationary) / alpha

    def rests(self, values: Float64Array, scale: float) -> BoolArray:
        """Return which rows are zero but for rounding."""
        return np.asarray(np.abs(values).max(1) <= _ROUNDING * scale)

    def trained_rest(self) -> BoolArray:
        """Return for which masks SR-STE stays at the dense row that belongs to it."""
        return self.rests(self.quadratic.trained_gradient(self.dense(self.alpha), self.alpha), self.scale)

    def thresholding_rests(self, step: float) -> BoolArray:
        """Return for which masks iterative hard thresholding stays at the sparse row."""
        moved = self.quadratic.thresholded_step(self.stationary, step)
        return self.rests(moved - self.stationary, float(np.abs(self.row).max()))


def _draw(seed: int, ratio: float, common: float) -> Penalised:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((4 * _FEATURES, _FEATURES)) + common * rng.standard_normal((4 * _FEATURES, 1))
    return Penalised(X.T @ X / len(X), rng.standard_normal(_FEATURES), ratio, seed)


def _penalised(*ratios: float) -> st.SearchStrategy[Penalised]:
    return st.builds(_draw, seeds, st.sampled_from(ratios), st.sampled_from([0.0, 1.0, 3.0]))


def _fixed_points(case: Penalised) -> Measurement:
    r"""Count the masks on which only one of the two methods rests, and compare gradients away from them.

    Write P for the projection on the pattern, f for the loss, and s = P(W). What reaches the stored weight W is
    grad f(s) + alpha (W - s), since (1 - E) W = W - P(W). With V = s - grad f(s) / alpha that is alpha (W - V).

    If it is zero, W = V. Then P(V) = P(W) = s, and P(V) is the step of iterative hard thresholding of length 1 / alpha
    from s: s is a fixed point. Conversely let P(s - grad f(s) / alpha) = s, and take W = s - grad f(s) / alpha. Then
    P(W) = s, and grad f(s) + alpha (W - s) = 0.

    On its mask the gradient of a fixed point is zero, so the best row on each mask is all there is to look at. Any
    other W has the gradient alpha (W - V).
    """
    disagree = case.trained_rest() != case.thresholding_rests(1.0 / case.alpha)
    anywhere = np.random.default_rng(case.rng_seed).standard_normal(case.quadratic.rows.shape)
    sparse = case.quadratic.thresholded_step(anywhere, 0.0)
    V = sparse - case.quadratic.gradient(sparse) / case.alpha
    found = case.quadratic.trained_gradient(anywhere, case.alpha)
    deviation = np.abs(found - case.alpha * (anywhere - V)).max() / (case.scale + case.alpha)
    return Measurement(float(disagree.sum()) + float(deviation), 0.0, scale=1.0)


def _other_step(case: Penalised) -> Measurement:
    """Take the step 2 / alpha, as for the loss without its factor one half."""
    disagree = case.trained_rest() != case.thresholding_rests(2.0 / case.alpha)
    return Measurement(float(disagree.sum()), 0.0, scale=1.0)


srste_fixed_points = Claim(
    name="sparse_training.srste_fixed_points",
    summary="Training with SR-STE rests exactly where iterative hard thresholding with step 1 / alpha does.",
    statement=r"\nabla f(P(W)) + \alpha (W - P(W)) = 0 \iff"
    r" s = P(s - \tfrac{1}{\alpha} \nabla f(s)),\ W = s - \tfrac{1}{\alpha} \nabla f(s)",
    source=Source.ours("SR-STE as dual averaging: its sparse iterate is that of hard thresholding at rest"),
    verdict=Always(rtol=1e-10),
    instances=lambda: _penalised(0.02, 0.1, 0.3, 0.5, 1.05, 3.0),
    evaluate=_fixed_points,
    near_miss=_other_step,
)


def _optimum(case: Penalised) -> int:
    change = case.stationary - case.quadratic.rows
    return int(((change @ case.gram) * change).sum(1).argmin())


def _optimum_moves(case: Penalised, alpha: float) -> Measurement:
    best = _optimum(case)
    gradient = case.quadratic.trained_gradient(case.dense(alpha), alpha)[best]
    return Measurement(float(np.abs(gradient).max()), 0.0, scale=case.scale)


def _optimum_stays(case: Penalised) -> Measurement:
    r"""Measure the gradient at the dense row that belongs to the best sparse one, for alpha above the curvature L.

    Let s be the best row of the pattern and t = P(s - grad f(s) / alpha). Of all rows y of the pattern, t has the least
    q(y) = f(s) + grad f(s)'(y - s) + alpha / 2 |y - s|^2. So q(t) <= q(s) = f(s). And f(t) <= q(t) - (alpha - L) / 2
    |t - s|^2, as L bounds the curvature. Since f(s) <= f(t), that leaves t = s: a fixed point of hard thresholding, and
    so of SR-STE.
    """
    return _optimum_moves(case, case.alpha)


def _weak_penalty(case: Penalised) -> Measurement:
    """Expect the same of a tenth of the curvature."""
    return _optimum_moves(case, 0.1 * case.quadratic.curvature)


srste_optimum = Claim(
    name="sparse_training.srste_optimum",
    summary="With a penalty above the curvature of the loss, the best sparse weights are a fixed point of SR-STE.",
    statement=r"\alpha > \lambda_{\max}(G) \Rightarrow s^\ast = \arg\min_{s \in \text{N:M}} f(s)"
    r" \text{ is a fixed point}",
    source=Source.ours("majorisation by a quadratic, as for hard thresholding"),
    verdict=Always(rtol=_ROUNDING),
    instances=lambda: _penalised(1.01, 1.5, 4.0),
    evaluate=_optimum_stays,
    near_miss=_weak_penalty,
)


def _restless(case: Penalised, alpha: float) -> Measurement:
    stored = case.dense(case.alpha)
    nearest = case.quadratic.thresholded_step(case.row[None] * np.ones_like(stored), 0.0)
    least = np.linalg.eigvalsh(case.gram)[0] * np.linalg.norm(nearest - case.row, axis=1)
    found = np.linalg.norm(case.quadratic.trained_gradient(stored, alpha), axis=1)
    return Measurement.worst(least, found, scale=case.scale)


def _never_rests(case: Penalised) -> Measurement:
    r"""Bound the gradient without penalty from below, at weights where SR-STE rests and others.

    It is G (s - w) with s = P(W), wherever W is. So its norm is at least lambda_min(G) |s - w|, and no row of the
    pattern is nearer to w than P(w). Where the dense row w does not have the pattern, plain straight-through training
    never rests.
    """
    return _restless(case, 0.0)


def _with_penalty(case: Penalised) -> Measurement:
    """Expect the bound of SR-STE."""
    return _restless(case, case.alpha)


ste_never_rests = Claim(
    name="sparse_training.ste_never_rests",
    summary="Without the penalty the gradient never vanishes, unless the best dense weights are sparse themselves.",
    statement=r"\|\nabla f(P(W))\| \ge \lambda_{\min}(G)\, \|w - P(w)\| \quad \text{for all } W",
    source=Source.ours("why masks of the plain straight-through estimator go on changing"),
    verdict=Always(rtol=1e-10),
    instances=lambda: _penalised(0.3, 1.05, 3.0),
    evaluate=_never_rests,
    near_miss=_with_penalty,
)
