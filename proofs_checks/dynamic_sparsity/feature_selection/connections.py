"""Claims about connections that come and go: their number, which of them go, and how many are drawn at first."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu.dynamic.feature_selection.evolution import kept, pruned, regrown
from sparsetheory.gpu.dynamic.feature_selection.layer import SparseLayer, draw_layer
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import BoolArray, FloatArray

_PAPER = "Atashgahi and others, Quick and robust feature selection, Machine Learning 111, 2022"
_ROUNDS = 3
_FEATURES, _HIDDEN = 200, 100


@dataclass(frozen=True)
class Evolution:
    """A layer with weights from a few values, so that many are equal, and the hundredths that are dropped."""

    rng_seed: int
    shape: tuple[int, int]
    signs: tuple[float, ...]
    hundredths: int

    def layer(self) -> SparseLayer:
        """Draw the layer."""
        rng = np.random.default_rng(self.rng_seed)
        layer = draw_layer(rng, self.shape, 1.5, np.float64)
        layer.values[:] = rng.choice(self.signs, layer.n_nonzero) * rng.integers(1, 5, layer.n_nonzero)
        return layer

    def dropped_by_hand(self, values: FloatArray) -> BoolArray:
        """Return which weights go by the words of the rule: sorted lists, the lower index first among equals."""
        dropped = np.zeros(values.size, dtype=bool)
        for negative in (True, False):
            own = [i for i, value in enumerate(values) if (value < 0) == negative]
            own.sort(key=lambda i: (abs(values[i]), i))
            dropped[own[: self.hundredths * len(own) // 100]] = True
        return dropped


def _evolutions() -> st.SearchStrategy[Evolution]:
    sizes, signs = st.integers(1, 8), st.sampled_from([(-1.0, 1.0), (1.0,), (-1.0,), (-1.0, 0.0, 1.0)])
    return st.builds(Evolution, seeds, st.tuples(sizes, sizes), signs, st.integers(1, 99))


def _counted(case: Evolution, rule: str) -> Measurement:
    """Count weights that go and should not, or the reverse, and missing or excessive connections, in three rounds."""
    layer, rng, wrong = case.layer(), np.random.default_rng(case.rng_seed + 1), 0
    n_nonzero, fraction = layer.n_nonzero, case.hundredths / 100
    for _ in range(_ROUNDS):
        wrong += int((case.dropped_by_hand(layer.values) == kept(layer.values, fraction, rule)).sum())
        smaller = pruned(layer, fraction, rule)
        layer = regrown(smaller, n_nonzero, rng)
        wrong += abs(np.unique(layer.positions).size - n_nonzero)
        # What is new rests, and what stayed is as it was.
        stayed = np.isin(layer.positions, smaller.positions)
        wrong += int((layer.values[stayed] != smaller.values).sum() + (layer.velocity[~stayed] != 0).sum())
    return Measurement(float(wrong), 0.0, scale=1.0)


evolution_counts = Claim(
    name="dynamic_sparsity.evolution_counts",
    summary="Rewiring keeps the number of connections, and drops an exact number of each sign, those nearest zero.",
    statement=r"|S_{t+1}| = |S_t|, \quad |\{\text{dropped}, w < 0\}| = \lfloor \zeta n_- \rfloor, \quad"
    r" |\{\text{dropped}, w \ge 0\}| = \lfloor \zeta n_+ \rfloor",
    source=Source(_PAPER, "the evolution step, with exact counts", "2012.00560", "ours"),
    verdict=Always(rtol=0.0),
    instances=_evolutions,
    evaluate=lambda case: _counted(case, "exact"),
    # Thresholds as in the published code: all that equals them goes too, and one or two more.
    near_miss=lambda case: _counted(case, "official"),
)


@dataclass(frozen=True)
class Draw:
    """Draws with replacement for each neuron, and how many different places they hit."""

    epsilon: float
    count: int

    @property
    def n_draws(self) -> int:
        """Number of draws."""
        return int(self.epsilon * (_FEATURES + _HIDDEN))


def _draw(rng: np.random.Generator, epsilon: float) -> Draw:
    return Draw(epsilon, draw_layer(rng, (_HIDDEN, _FEATURES), epsilon, np.float32).n_nonzero)


def _expected(case: Draw) -> Measurement:
    r"""Compare the number of places hit with its mean, within four standard deviations.

    With N draws of one of M places, one place is missed with probability :math:`q_1 = (1 - 1/M)^N` and two are with
    :math:`q_2 = (1 - 2/M)^N`. So the mean is :math:`M (1 - q_1)`, and the variance
    :math:`M q_1 + M (M - 1) q_2 - M^2 q_1^2`. By Chebyshev's inequality a deviation of four standard deviations
    happens with probability 1/16 at most.
    """
    places, n = _FEATURES * _HIDDEN, case.n_draws
    mean, deviation = _moments(places, n)
    return Measurement(abs(case.count - mean), 4 * deviation, extras={"number of draws": case.n_draws - mean})


def _moments(places: int, n: int) -> tuple[float, float]:
    missed = (1 - 1 / places) ** n
    # q_2 - q_1^2 by its exact factor: the difference of the two would lose all digits.
    covariance = missed**2 * np.expm1(n * np.log1p(-1 / (places - 1) ** 2))
    variance = places * missed * (1 - missed) + places * (places - 1) * covariance
    return places * (1 - missed), float(np.sqrt(variance))


def _all_different(case: Draw) -> Measurement:
    """Expect draws with replacement to hit as many places as there are draws."""
    _, deviation = _moments(_FEATURES * _HIDDEN, case.n_draws)
    return Measurement(float(case.n_draws - case.count), 4 * deviation)


drawn_connections = Claim(
    name="dynamic_sparsity.drawn_connections",
    summary="Connections drawn with replacement hit fewer places than there are draws, by an exact formula.",
    statement=r"\mathbb{E}\,|S_0| = m h \left(1 - \left(1 - \tfrac{1}{m h}\right)^{\varepsilon (m + h)}\right)",
    source=Source(_PAPER, "the initial connections of the published code", "2012.00560", "ours"),
    verdict=WithProbability(15 / 16),
    evaluate=_expected,
    near_miss=_all_different,
    sweep=Sweep(
        axis="draws for each neuron",
        values=(5.0, 13.0, 26.0, 52.0),
        draw=_draw,
        trials=100,
        quick_trials=40,
        measured_label="connections drawn",
        bound_label="4 standard deviations",
        log="y",
        y_label="distance from the mean",
    ),
)
