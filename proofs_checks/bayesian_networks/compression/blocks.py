"""Claims about blocks of outputs that share their inputs: which are the most probable, and how many a chain fills."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian.markov.chain import sample_chain, transition_table
from sparsetheory.gpu import bayesian
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import BoolArray, Float64Array

_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class _Grid:
    """Second moments of a small weight under chains, which run along the inputs or along the outputs."""

    moments: Float64Array
    activation: float
    deactivation: float
    along_outputs: bool

    @property
    def axis(self) -> int:
        return int(self.along_outputs)

    def prior(self) -> Any:
        """Return the prior, updated; a chain runs along each row of its grid."""
        found = bayesian.WeightPrior(self.moments.shape, activation=self.activation, deactivation=self.deactivation)
        found.update(self.moments, off_rate=1e-2)
        return found

    def log_weight(self, states: BoolArray, log_odds: Float64Array) -> float:
        table = np.log(transition_table(self.activation, self.deactivation))
        density, on = self.activation / (self.activation + self.deactivation), states.astype(int)
        first = np.log(np.where(states[:, 0], density, 1 - density)).sum()
        return float(first + (on * log_odds).sum() + table[on[:, :-1], on[:, 1:]].sum())

    def blocks(self) -> list[BoolArray]:
        """Return all states of which every four neighbours along the outputs agree; others are single."""
        length = self.moments.shape[self.axis]
        sizes = [4] * (length // 4) + [1] * (length % 4)
        others = self.moments.shape[1 - self.axis]
        choices = itertools.product([False, True], repeat=len(sizes) * others)
        spread = [np.repeat(np.reshape(choice, (len(sizes), others)), sizes, axis=0) for choice in choices]
        return [states.T if self.along_outputs else states for states in spread]


@st.composite
def _grids(draw: st.DrawFn) -> _Grid:
    outputs, inputs, along = draw(st.integers(4, 6)), draw(st.integers(1, 3)), draw(st.booleans())
    shape = (inputs, outputs) if along else (outputs, inputs)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    moments = 10.0 ** rng.uniform(-3, 1, shape)
    return _Grid(moments, draw(st.floats(0.02, 0.9)), draw(st.floats(0.02, 0.9)), along)


def _joined(grid: _Grid, law_once: bool = False) -> Measurement:
    """Compare the weight of the chosen states with the largest of all states of the form."""
    from sparsetheory.gpu.bayesian.compression.most_probable import most_probable_states

    prior = grid.prior()
    if law_once:
        states = _law_once(grid, prior.log_odds)
    else:
        states = most_probable_states(prior, "path", axis=grid.axis, size=4)
    weights = [grid.log_weight(one, prior.log_odds) for one in grid.blocks()]
    found = grid.log_weight(states, prior.log_odds)
    scale = 1 + np.abs(prior.log_odds).sum() - states.size * np.log(min(grid.activation, grid.deactivation, 0.1))
    return Measurement(max(weights) - found, 0.0, scale=float(scale))


def _law_once(grid: _Grid, log_odds: Float64Array) -> BoolArray:
    """Return the best blocks if the evidence of a block adds up, and the law counts once for it."""
    totals = []
    for states in grid.blocks():
        length = grid.moments.shape[grid.axis]
        rows = list(range(0, length // 4 * 4, 4)) + list(range(length // 4 * 4, length))
        first = np.take(states, rows, axis=grid.axis)
        totals.append((states * log_odds).sum() + grid.log_weight(first, np.zeros(first.shape)))
    return grid.blocks()[int(np.argmax(totals))]


joined_outputs = Claim(
    name="bayesian_networks.joined_outputs",
    summary="Of all masks in blocks of four outputs the most probable one is found, for chains along either axis.",
    statement=r"\hat s = \arg\max_{s:\ s_{4q} = \dots = s_{4q+3}} \; \prod_{\text{chains}} p(s) \prod_i e^{\ell_i s_i}",
    source=Source.ours(
        "for k equal chains the logarithm of the law counts k times; within a block it adds 3 ln p_11/p_00"
    ),
    verdict=Always(_ROUNDING),
    instances=_grids,
    evaluate=_joined,
    near_miss=lambda grid: _joined(grid, law_once=True),
)

_INPUTS, _OUTPUTS, _DENSITY = 100, 400, 0.1


@dataclass(frozen=True, eq=False)
class _Support:
    """States of chains along the outputs, (inputs, outputs), and their law."""

    states: BoolArray
    activation: float


def _draw_support(rng: np.random.Generator, mean_run: float) -> _Support:
    p10 = 1.0 / mean_run
    p01 = p10 * _DENSITY / (1 - _DENSITY)
    found = sample_chain(_OUTPUTS, activation=p01, deactivation=p10, n_paths=_INPUTS, random_state=rng)
    return _Support(found, p01)


def _filled(support: _Support, independent: bool = False) -> Measurement:
    """Compare the share of blocks with a weight with its law.

    A block is empty if its first state is off, which has probability one less the density, and the next three stay off.
    For independent states that is the fourth power.
    """
    (found,) = bayesian.mask_structure({"support": tensor(support.states.T.copy())})
    blocks = support.states.reshape(_INPUTS, -1, 4).any(axis=2).mean(axis=1)
    error = 5 * float(blocks.std(ddof=1)) / np.sqrt(_INPUTS)
    law = 1 - (1 - _DENSITY) * (1 - support.activation) ** 3
    without = 1 - (1 - _DENSITY) ** 4
    centre = without if independent else law
    further = {"law, plus five standard errors": centre + error, "independent states": without}
    return Measurement.chain(centre - error, found.block_density, further)


block_density = Claim(
    name="bayesian_networks.block_density",
    summary="Chains along the outputs fill fewer blocks of four than independent states of the same density.",
    statement=r"P(\text{a block has a weight}) = 1 - (1 - \lambda) (1 - p_{01})^3 < 1 - (1 - \lambda)^4",
    source=Source.ours("blocks of a stationary chain"),
    verdict=WithProbability(0.999),
    evaluate=_filled,
    near_miss=lambda support: _filled(support, independent=True),
    sweep=Sweep(
        axis="mean run along the outputs",
        values=(2.0, 4.0, 8.0, 16.0),
        draw=_draw_support,
        trials=100,
        quick_trials=44,
        log="x",
        measured_label="law, less five standard errors",
        bound_label="blocks of chains",
        y_label="share of blocks with a weight",
    ),
)
