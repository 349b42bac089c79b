"""Small layers with priors, and their divergence by enumeration of all states."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.special import digamma, gammaln, logsumexp

from sparsetheory.gpu import bayesian
from sparsetheory.proofs_checks.claim import Source
from sparsetheory.typing import Float64Array

__all__ = ["SmallLayer", "divergence_by_enumeration", "law_of_states", "ours", "small_layers"]

_LINES = ("iid", "chain_rows")


def ours(item: str) -> Source:
    """Cite a derivation of this package for the prior of Xia, Tsang and Lau (2023)."""
    return Source.ours(f"{item} (prior of Xia, Tsang and Lau, arXiv:2302.10483)")


@dataclass(frozen=True)
class SmallLayer:
    """Normal weights on a small grid of states, with a prior.

    Parameters
    ----------
    structure, factorisation : str
        As in WeightPrior.
    shape : tuple of int
        Rows, columns, weights per state.
    activation, deactivation, on_shape, on_rate, off_shape : float
        Of the prior.
    ratio : float
        Rate of the off state over its largest value.
    seed : int
        Of the weights.
    """

    structure: str
    factorisation: str
    shape: tuple[int, int, int]
    activation: float
    deactivation: float
    on_shape: float
    on_rate: float
    off_shape: float
    ratio: float
    seed: int

    def prior(self, **changes: Any) -> Any:
        """Return the prior, before any update."""
        one = replace(self, **changes)
        return bayesian.WeightPrior(
            one.shape[:2],
            one.structure,
            activation=one.activation,
            deactivation=one.deactivation,
            on_shape=one.on_shape,
            on_rate=one.on_rate,
            off_shape=one.off_shape,
            factorisation=one.factorisation,
            group_size=one.shape[2],
        )

    @property
    def off_rate(self) -> float:
        """Rate of precisions that are off."""
        return self.ratio * self.on_rate * self.off_shape / self.on_shape

    @property
    def laws(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Shape and rate of precisions that are off, and of those that are on."""
        return (self.off_shape, self.off_rate), (self.on_shape, self.on_rate)

    def weights(self, move: int = 0) -> tuple[Float64Array, Float64Array]:
        """Return means and deviations; another pair for each number."""
        rng = np.random.default_rng([self.seed, move])
        size = np.sqrt(self.on_rate / self.on_shape) * 10 ** rng.uniform(-2.5, 0.5, self.shape)
        return size * rng.standard_normal(self.shape), size * np.exp(rng.standard_normal(self.shape) - 1)

    @cached_property
    def states(self) -> Float64Array:
        """All states of the grid, one per line."""
        n = self.shape[0] * self.shape[1]
        return np.array(list(product((0.0, 1.0), repeat=n)))


def small_layers(structures: tuple[str, ...] = _LINES, factorisation: str = "collapsed") -> st.SearchStrategy[Any]:
    """Search layers of at most six nodes."""
    shapes = st.sampled_from([(1, 1), (1, 4), (1, 6), (2, 3), (3, 2), (6, 1)])
    return st.builds(
        lambda structure, grid, group, on_off, shape_on, rate, shape_off, ratio, seed: SmallLayer(
            structure, factorisation, (*grid, group), on_off[0], on_off[1], shape_on, rate, shape_off, ratio, seed
        ),
        st.sampled_from(structures),
        shapes,
        st.sampled_from([1, 1, 2, 5]),
        st.tuples(st.floats(0.02, 0.6), st.floats(0.02, 0.6)),
        st.sampled_from([1.0, 1.0, 0.4, 3.0]),
        st.floats(-3, 1).map(lambda x: 10.0**x),
        st.sampled_from([1.0, 1.0, 0.5, 2.0]),
        st.floats(-6, -0.05).map(lambda x: 10.0**x),
        st.integers(0, 2**31),
    )


def law_of_states(layer: SmallLayer) -> Float64Array:
    """Return the logarithm of the prior probability of every state, one transition after the other."""
    rows = layer.states.reshape(-1, *layer.shape[:2]).astype(int)
    density = layer.activation / (layer.activation + layer.deactivation)
    first = np.log([1 - density, density])
    if layer.structure == "iid":
        return np.asarray(first[rows].sum(axis=(1, 2)))
    table = np.log([[1 - layer.activation, layer.activation], [layer.deactivation, 1 - layer.deactivation]])
    return np.asarray(first[rows[:, :, 0]].sum(axis=1) + table[rows[:, :, :-1], rows[:, :, 1:]].sum(axis=(1, 2)))


def divergence_by_enumeration(layer: SmallLayer, move: int = 0, exponent: float = 0.5) -> float:
    r"""Return the least divergence over laws of all states jointly, with the best precision for each state of a node.

    For given states the best factor of a precision is Gamma(a + L / 2, b + e / 2); its cost is the divergence of Gamma
    laws, plus the expected divergence of the weights. The best law of the states is their prior times the exponential
    of minus these costs, and what it costs is minus the logarithm of its normaliser.
    """
    means, stds = layer.weights(move)
    energy = (means**2 + stds**2).sum(axis=-1).ravel()
    n_shared = layer.shape[2]
    costs = []
    for a, b in layer.laws:
        shape, rate = a + exponent * n_shared, b + exponent * energy
        between = (
            (shape - a) * digamma(shape)
            - gammaln(shape)
            + gammaln(a)
            + a * np.log(rate / b)
            + shape * (b - rate) / rate
        )
        costs.append(between + exponent * (shape / rate * energy - n_shared * (digamma(shape) - np.log(rate))))
    off, on = costs
    total = law_of_states(layer) - layer.states @ on - (1 - layer.states) @ off
    return float(-logsumexp(total) - (0.5 + np.log(stds)).sum())
