"""Claims about gradients of scores: the formulas, and which slopes instead of that of a step find the right side."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.sparse_training.connections.scored_layer import scored_layer
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import AnyArray, Float64Array

_ROUNDING = 1e-10
_SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True, eq=False)
class Scored:
    """A weight with scores, inputs and targets of its layer, the cost of a connection and the norm of gradients."""

    weight: Float64Array
    scores: Float64Array
    inputs: Float64Array
    targets: Float64Array
    alpha: float
    norm: str

    def trained(self, rows: AnyArray | float = 1.0, steps: int = 1, lr: float = 0.0) -> tuple[Float64Array, ...]:
        """Take steps of the scores for a squared loss with weights of outputs; return scores and last gradients."""
        layer = scored_layer(self.weight, self.alpha, self.norm, step=lr, scores=self.scores)
        x, y, shares = tensor(self.inputs), tensor(self.targets), tensor(np.broadcast_to(rows, len(self.weight)))
        for effective in layer.steps(steps):
            (0.5 * (shares * (x @ effective.T - y).square()).sum()).backward()
        return array(layer.mask.scores), array(layer.mask.scores.grad), array(layer.stored.grad)

    @property
    def upstream(self) -> Float64Array:
        """Gradient of the loss with respect to what the layer computes with."""
        effective = self.weight * (self.scores > 0)
        return np.asarray((self.inputs @ effective.T - self.targets).T @ self.inputs)


def _draw(seed: int, out: int, features: int, alpha: float, norm: str) -> Scored:
    rng = np.random.default_rng(seed)
    sizes = np.exp(2.0 * rng.standard_normal((out, 1)))
    weight, scores = sizes * rng.standard_normal((out, features)), rng.standard_normal((out, features))
    return Scored(weight, scores, rng.standard_normal((7, features)), rng.standard_normal((7, out)), alpha, norm)


def _scored(norms: tuple[str, ...] = ("l2", "linf", "none")) -> st.SearchStrategy[Scored]:
    sizes, alphas = st.integers(1, 5), st.sampled_from([0.0, 1e-3, 0.5])
    return st.builds(_draw, _SEEDS, sizes, sizes, alphas, st.sampled_from(norms))


def _size(values: Float64Array, norm: str, axis: int | None) -> Float64Array:
    if norm == "none":
        return np.ones(1)
    squares = np.square(values)
    total = squares.sum(axis, keepdims=True) if norm == "l2" else squares.max(axis, keepdims=True)
    return np.asarray(np.sqrt(total))


def _gradients(case: Scored, axis: int | None = 1) -> Measurement:
    """Compare the gradients with those by hand: of scores ``g w / |g w| + alpha`` by outputs, of weights ``g H``.

    Without the cost, those of an output have norm one.
    """
    _, of_scores, of_weights = case.trained()
    raw = case.upstream * case.weight
    expected = raw / _size(raw, case.norm, axis) + case.alpha
    off = np.abs(of_scores - expected).max() / np.abs(expected).max()
    truth = case.upstream * (case.scores > 0)
    off += np.abs(of_weights - truth).max() / (np.abs(case.upstream).max())
    units = _size(of_scores - case.alpha, case.norm, 1)
    return Measurement(float(off + np.abs(units - 1.0).max() * (case.norm != "none")), 0.0, scale=1.0)


scl_gradients = Claim(
    name="sparse_training.scl_gradients",
    summary="Gradients of scores are normalised over each output, then the cost is added; those of weights are true.",
    statement=r"\nabla m_i = \frac{g_i \odot w_i}{\|g_i \odot w_i\|} + \alpha, \quad \nabla w = g \odot H(m)",
    source=Source.ours("gradients of scores after the abstract of Tang et al., 2022, which names no formula"),
    verdict=Always(_ROUNDING),
    instances=_scored,
    evaluate=_gradients,
    # One norm over the whole weight.
    near_miss=partial(_gradients, axis=None),
)


def _scale_free(case: Scored, norm: str = "l2") -> Measurement:
    """Compare the scores after some steps with those for a loss whose outputs count differently.

    The gradient of an output's scores is a multiple of what it was, as weights are held, and the norm removes that.
    Factors are powers of two, so that not even rounding differs.
    """
    given = Scored(case.weight, case.scores, case.inputs, case.targets, case.alpha, norm)
    factors = 2.0 ** (np.arange(len(case.weight)) % 3 * 7.0 - 10.0)
    here, there = (given.trained(rows, steps=6, lr=0.2)[0] for rows in (1.0, factors))
    return Measurement(float(np.abs(here - there).max()), 0.0, scale=1.0)


scl_scale_free = Claim(
    name="sparse_training.scl_scale_free",
    summary="While weights are held, the scores of an output do not feel by how much its loss counts.",
    statement=r"m_t(c\, L) = m_t(L) \quad \text{for all } c > 0 \text{ of an output, } w \text{ held}",
    source=Source.ours("normalised gradients of scores"),
    verdict=Always(1e-12),
    instances=partial(_scored, norms=("l2",)),
    evaluate=_scale_free,
    near_miss=partial(_scale_free, norm="none"),
)

Slope = Callable[[float], float]


@dataclass(frozen=True)
class Descent:
    """Start of one score, the gradient of the loss with respect to its mask, a step and a slope for that of the step.

    Parameters
    ----------
    start, gradient, step : float
    slope : str
        "identity", "leaky" (0.1 below zero) or "softplus".
    """

    start: float
    gradient: float
    step: float
    slope: str

    @property
    def on(self) -> bool:
        """Whether the mask should be on."""
        return self.gradient < 0

    def n_steps(self) -> int:
        """Return after how many steps the score is on the right side.

        Up to zero the slope is at least that at the start or at zero, as all slopes here grow with the score.
        """
        least = _SLOPES[self.slope](min(self.start, 0.0))
        return 2 + int(abs(self.start) / (self.step * abs(self.gradient) * least))


_SLOPES: dict[str, Slope] = {
    "identity": lambda m: 1.0,
    "leaky": lambda m: 1.0 if m > 0 else 0.1,
    "softplus": lambda m: float(1.0 / (1.0 + np.exp(-m))),
}


def _descend(case: Descent, slope: Slope) -> float:
    m = case.start
    for _ in range(case.n_steps()):
        m -= case.step * case.gradient * slope(m)
    return m


def _trained_score(case: Descent) -> float:
    """Take the steps with the mask of the package, whose slope is one everywhere."""
    layer = scored_layer(np.ones((1, 1)), 0.0, "none", step=case.step, scores=case.start)
    for effective in layer.steps(case.n_steps()):
        (case.gradient * effective.sum()).backward()
    return float(layer.mask.scores.detach())


def _right_side(case: Descent) -> Measurement:
    """Count scores on the wrong side after so many steps as a positive slope needs at most.

    Each step moves the score by ``-step gradient slope(m)``, towards the right side if the slope is positive, from any
    m, and never back. A slope of zero or below at some m leaves a score that starts there, or takes it the wrong way.
    """
    end = _trained_score(case) if case.slope == "identity" else _descend(case, _SLOPES[case.slope])
    return Measurement(float((end > 0) != case.on), 0.0, scale=1.0)


def _clipped(case: Descent) -> Measurement:
    """Use the slope of a clipped line, which is zero beyond one."""
    end = _descend(case, lambda m: float(abs(m) <= 1.0))
    return Measurement(float((end > 0) != case.on), 0.0, scale=1.0)


def _descents() -> st.SearchStrategy[Descent]:
    gradients = st.builds(lambda size, sign: size * sign, st.floats(0.3, 3.0), st.sampled_from([-1.0, 1.0]))
    return st.builds(Descent, st.floats(-2.5, 2.5), gradients, st.floats(0.2, 1.0), st.sampled_from(sorted(_SLOPES)))


scl_positive_slopes = Claim(
    name="sparse_training.scl_positive_slopes",
    summary="With a positive slope in place of that of the step, a score finds the right side from any start.",
    statement=r"m_{t+1} = m_t - \eta\, g\, h'(m_t),\ h' > 0 \;\Rightarrow\; H(m_t) = H(-g) \text{ in the end}",
    source=Source.ours("why slopes must be positive, as the abstract of Tang et al., 2022, asks for"),
    verdict=Always(0.0),
    instances=_descents,
    evaluate=_right_side,
    near_miss=_clipped,
)
