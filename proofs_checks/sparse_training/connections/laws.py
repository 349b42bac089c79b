"""Claims about scores of connections on orthonormal designs: how long a connection is on, and which ones stay."""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from hypothesis import strategies as st

from sparsetheory.penalties import L0
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.sparse_training.connections.scored_layer import ScoredLayer, scored_layer
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

# Steps that shares are taken over: the law then holds within 0.025.
_INIT, _WINDOW, _ROUNDING = 0.1, 40, 1e-9


@dataclass(frozen=True, eq=False)
class Orthonormal:
    """Orthonormal columns with a target, the cost of a connection, the step of the scores and the memory of masks."""

    X: Float64Array
    y: Float64Array
    alpha: float
    step: float
    ema: float

    @cached_property
    def optimum(self) -> Float64Array:
        """Least-squares coefficients."""
        return self.X.T @ self.y

    @cached_property
    def share(self) -> Float64Array:
        """Share of the steps in which each connection is on, by the law."""
        return np.maximum(0.0, 1.0 - self.alpha / self.optimum**2)

    @property
    def settled(self) -> int:
        """Steps after which every score has come to zero."""
        return 2 + int(_INIT / (self.step * self.alpha)) if self.alpha else 0

    def run(self, start: Float64Array | None = None) -> tuple[BoolArray, ScoredLayer]:
        """Train from weights at the optimum, or hold others; return masks of the steps of the window, and the layer."""
        weight, weight_step = (self.optimum, 0.5) if start is None else (start, None)
        layer = scored_layer(
            weight[None], self.alpha, "none", step=self.step, weight_step=weight_step, ema=self.ema, scores=_INIT
        )
        X, y = tensor(self.X), tensor(self.y)
        masks = []
        for effective in layer.steps(self.settled + _WINDOW):
            masks.append(layer.on[0])
            (0.5 * (X @ effective[0] - y).square().sum()).backward()
        return np.array(masks[self.settled :]), layer


def _draw(seed: int, decade: float, relative: float, ema: float, p: int = 5) -> Orthonormal:
    """Draw coefficients whose squares lie within some 1.5 decades of the cost, on both sides."""
    rng = np.random.default_rng(seed)
    X = np.linalg.qr(rng.standard_normal((p + 3, p)))[0]
    alpha = 10.0**decade
    optimum = rng.choice([-1.0, 1.0], p) * np.sqrt(alpha * 10.0 ** rng.uniform(-0.5, 1.2, p))
    rest = rng.standard_normal(p + 3)
    return Orthonormal(X, X @ optimum + rest - X @ (X.T @ rest), alpha, relative * _INIT / alpha, ema)


def _designs(p: int = 5) -> st.SearchStrategy[Orthonormal]:
    seeds, decades, relative = st.integers(0, 2**32 - 1), st.floats(-2.0, 1.0), st.floats(0.25, 1.0)
    return st.builds(partial(_draw, p=p), seeds, decades, relative, st.sampled_from([0.7, 0.8, 0.9]))


def _at_ratio(rng: np.random.Generator, ratio: float) -> Orthonormal:
    """Draw a design of one coefficient with a given ratio of cost and square."""
    X = np.linalg.qr(rng.standard_normal((4, 1)))[0]
    b = float(rng.uniform(0.5, 2.0))
    return Orthonormal(X, X[:, 0] * b, ratio * b * b, 0.5 * _INIT / (ratio * b * b), 0.9)


def _duty_cycle(case: Orthonormal) -> Measurement:
    r"""Compare the share of steps in which a connection is on with the law, over T steps; they differ by under 1/T.

    Let the weight be at its optimum b, where it stays: on, it has gradient b - b = 0, and off, none. The gradient of
    its score is ``b (b - b) + alpha`` while on and ``b (0 - b) + alpha`` while off. So the score falls by ``s alpha``
    while it is positive, for a step s, and otherwise changes by ``s (b^2 - alpha)``.

    If ``b^2 <= alpha``, it never rises: once off, off for good. Else, once it has come down, it stays in the interval
    from ``-s alpha`` (not included) to ``s (b^2 - alpha)``, of length ``s b^2``: from its positive part it cannot fall
    below the one end, from the rest it cannot rise above the other. If n of T steps are off, the score moves by
    ``s (n b^2 - T alpha)`` in all, which is less than ``s b^2`` in size. Hence ``|n / T - alpha / b^2| < 1 / T``.
    """
    masks, _ = case.run()
    shares = masks.mean(0)
    worst = Measurement.worst(np.abs(shares - case.share), 1.0 / _WINDOW, scale=1.0)
    if len(shares) > 1:
        return worst
    return Measurement(
        worst.measured, worst.bound, 1.0, {"share of steps on": float(shares[0]), "law": float(case.share[0])}
    )


def _on_if_it_pays(case: Orthonormal) -> Measurement:
    """Expect connections that pay for themselves to be on all the time, and no others."""
    masks, _ = case.run()
    return Measurement.worst(np.abs(masks.mean(0) - (case.optimum**2 > case.alpha)), 1.0 / _WINDOW, scale=1.0)


scl_duty_cycle = Claim(
    name="sparse_training.scl_duty_cycle",
    summary="The mask of a connection never settles: it is on for a share of the steps that cost and weight fix.",
    statement=r"\Big| \tfrac1T \sum_{t \le T} H(m_t) - \max(0, 1 - \alpha / b^2) \Big| < \tfrac1T \quad (X^\top X = I)",
    source=Source.ours("duty cycle of scores with the straight-through step"),
    verdict=Always(_ROUNDING),
    instances=_designs,
    evaluate=_duty_cycle,
    near_miss=_on_if_it_pays,
    sweep=Sweep(
        axis="alpha / b^2",
        values=(0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.5),
        draw=_at_ratio,
        trials=5,
        quick_trials=2,
        measured_label="distance to the law",
        bound_label="1 / T",
        y_label="share of steps",
    ),
)


def _disagreements(case: Orthonormal, kept: BoolArray, distance: float) -> int:
    """Count connections, away from the edge, that are kept though l0 drops them, or the other way."""
    away = np.abs(case.share - 0.5) > distance
    return int(((np.asarray(L0(case.alpha).prox(case.optimum, 1.0)) != 0) != kept)[away].sum())


def _half_time(case: Orthonormal) -> Measurement:
    r"""Compare running means of masks with shares of time, and what they keep with least squares with a cost.

    Let p be the share of time of a connection, d the memory and ``S_k`` the sum of ``H - p`` over the last k steps. By
    the argument of the duty cycle ``|S_k| < 1``. After T steps, summation by parts gives for the running mean, up to
    ``d^T`` times what it was before, ``p (1 - d^T) + (1 - d) (d^(T-1) S_T + sum_(0<k<T) (d^(k-1) - d^k) S_k)``. The
    last bracket is below ``d^(T-1) + 1 - d^(T-1) = 1`` in size. So the mean is within ``1 - d + d^T`` of p.

    And ``p > 1/2`` is ``b^2 / 2 > alpha``: what a coefficient gains is more than it costs.
    """
    _, layer = case.run()
    mean = array(layer.mask.mask_ema)[0]
    distance = 1.0 - case.ema + case.ema**_WINDOW
    found = Measurement.worst(np.abs(mean - case.share), distance, scale=1.0)
    wrong = _disagreements(case, array(layer.mask.mask(layer.stored))[0], distance)
    return found.and_chain({"disagreements with l0": float(wrong), "none": 0.0})


def _last_masks(case: Orthonormal) -> Measurement:
    """Keep the connections that are on at the end."""
    _, layer = case.run()
    distance = 1.0 - case.ema + case.ema**_WINDOW
    return Measurement(float(_disagreements(case, layer.on[0], distance)), 0.0, scale=1.0)


scl_half_time = Claim(
    name="sparse_training.scl_half_time",
    summary="Connections that are on for half of the remembered time are those that pay in least squares with a cost.",
    statement=r"|\bar H_T - p| < 1 - d + d^T, \quad p = \max(0, 1 - \alpha / b^2) > \tfrac12 \iff"
    r" \tfrac12 b^2 > \alpha",
    source=Source.ours("running mean of straight-through masks and hard thresholding"),
    verdict=Always(_ROUNDING),
    instances=partial(_designs, p=12),
    evaluate=_half_time,
    near_miss=_last_masks,
)


def _without_cost(case: Orthonormal, factor: float = 1.0) -> Measurement:
    """Count steps with a connection off, for masks without cost and weights held at a multiple of the optimum.

    At the optimum ``b (b H - b) <= 0``: no score falls. At three times the optimum it is ``6 b^2`` while on.
    """
    free = Orthonormal(case.X, case.y, 0.0, 0.2 * _INIT / float(np.square(case.optimum).max()), case.ema)
    masks, _ = free.run(factor * free.optimum)
    return Measurement(float((~masks).any(1).sum()), 0.0, scale=1.0)


scl_free_connections = Claim(
    name="sparse_training.scl_free_connections",
    summary="Without cost all connections stay if weights are at their optimum; elsewhere one may be turned off.",
    statement=r"\alpha = 0,\ w = X^\top y \;\Rightarrow\; H(m_t) = 1 \text{ for all } t",
    source=Source.ours("sign of the gradients of scores at the optimum"),
    verdict=Always(0.0),
    instances=_designs,
    evaluate=_without_cost,
    near_miss=partial(_without_cost, factor=3.0),
)
