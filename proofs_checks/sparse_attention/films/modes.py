"""Claims about the mode of each head: the rule that chooses it, the hull above which it lies, and planted patterns."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention, core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.sparse_attention.films.panned import PLANTED, PannedFilm, draw_film
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

_PAPER = "Chen et al., Sparse-vDiT (2025)"


@dataclass(frozen=True)
class Heads:
    """Errors of heads in all modes, what the modes save, and the two numbers of the rule."""

    mse: Any
    sparsities: Any
    alpha: float
    max_loss: float

    @property
    def choice(self) -> list[int]:
        """The modes that the rule chooses."""
        return attention.mode_rule(self.mse, self.sparsities, self.alpha, self.max_loss).tolist()

    def sums(self, head: int) -> list[float]:
        """Return error and price of each mode but the full one."""
        pairs = zip(self.mse[head][1:], self.sparsities[1:], strict=True)
        return [error + self.alpha * (1.0 - sparsity) for error, sparsity in pairs]


@st.composite
def _heads(draw: Any) -> Heads:
    # Few different numbers, all of them exact in binary, so that sums tie often.
    few = st.integers(0, 8).map(lambda number: number / 8)
    n = draw(st.integers(1, 4))
    sparsities = [0.0, 1.0, *draw(st.lists(few, min_size=n - 1, max_size=n - 1))]
    errors = st.lists(few, min_size=n, max_size=n)
    mse = [[0.0, *row] for row in draw(st.lists(errors, min_size=1, max_size=4))]
    limit = st.one_of(few, st.sampled_from([0.0, math.inf, 1.0]))
    return Heads(mse, sparsities, draw(st.sampled_from([0.0, 0.5, 1.0])), draw(limit))


def _decided(heads: Heads, choice: list[int]) -> Measurement:
    """Compare choices with what the rule says in words, mode by mode.

    A sparse mode is chosen if its sum is at most the limit, no later one is smaller, and every earlier one is larger.
    Full attention is chosen if the sums of all sparse modes are above the limit. Without a limit it never is; with the
    limit 0 it is wherever no sum is zero. The sum of a chosen sparse mode is at most the limit.
    """
    wrong = 0
    for head, mode in enumerate(choice):
        sums = heads.sums(head)
        if mode == 0:
            wrong += min(sums) <= heads.max_loss
        else:
            own = sums[mode - 1]
            wrong += own > heads.max_loss or min(sums) < own or min(sums[: mode - 1], default=math.inf) <= own
    return Measurement(float(wrong), 0.0, scale=1.0)


def _last_of_ties(heads: Heads) -> Measurement:
    """Let the last of the modes of equal sums win."""
    choice = []
    for head in range(len(heads.mse)):
        sums = heads.sums(head)
        last = len(sums) - int(np.argmin(sums[::-1]))
        choice.append(last if min(sums) <= heads.max_loss else 0)
    return _decided(heads, choice)


decision = Claim(
    name="sparse_attention.mode_rule",
    summary="A head takes the mode of least error plus price, the first one of ties, and stays full above the limit.",
    statement=r"i_h = \min \arg\min_{i \ge 1} \mathrm{MSE}_{hi} + \alpha (1 - S_i) \text{ if this is at most } "
    r"\epsilon, \text{ else } 0",
    source=Source(_PAPER, "offline search of sparse patterns", "2506.03065"),
    verdict=Always(0.0),
    instances=_heads,
    evaluate=lambda heads: _decided(heads, heads.choice),
    near_miss=_last_of_ties,
)


@dataclass(frozen=True)
class Layer:
    """Errors of all heads in all modes, what the modes cost, and what the rule chose."""

    mse: Float64Array
    costs: Float64Array
    choice: tuple[int, ...]

    @property
    def loss(self) -> float:
        """Sum of the errors of the chosen modes."""
        return math.fsum(row[mode] for row, mode in zip(self.mse, self.choice, strict=True))

    @property
    def cost(self) -> float:
        """Sum of the costs of the chosen modes."""
        return math.fsum(self.costs[mode] for mode in self.choice)

    def best(self, method: Literal["lagrange", "dp"] = "lagrange") -> Any:
        """Choose modes for all heads of at most the same cost."""
        return core.choose_options(self.mse, [self.costs] * len(self.mse), self.cost, method, n_cells=100_000)


def _layer(heads: Heads) -> Layer:
    costs = 1.0 - np.array(heads.sparsities)
    costs[0] = 1.0
    return Layer(np.array(heads.mse), costs, tuple(heads.choice))


def _layers() -> st.SearchStrategy[Layer]:
    known = Heads([[0.0, 1.0, 0.5]], [0.0, 1.0, 0.1], 0.5, 1.0)
    return st.one_of(_heads(), st.just(known)).map(_layer)


def _film_layer(rng: np.random.Generator, max_loss: float) -> Layer:
    film = draw_film(rng, int(rng.integers(2**32)))
    plan = film.plan(max_loss=max_loss, normalize="layer")
    # Pairs share the divisor 6, so that the table holds all budgets exactly.
    return Layer(plan.mse, np.array(plan.pairs, dtype=float), plan.choice)


def _above_hull(layer: Layer) -> Measurement:
    """Compare the rule with the interpolated lower hull of all plans at the cost of its plan.

    The dual value at a budget is the height of the hull there, and no plan of that cost is below it. The plan of a
    table is between the two.
    """
    found = layer.best("dp")
    return Measurement.chain(found.lower_bound, found.loss, {"rule": layer.loss}, scale=1.0 + float(np.sum(layer.mse)))


def _price_beats_rule(layer: Layer) -> Measurement:
    """Expect a price on cost to find a plan at least as good as that of the rule, at the cost of the latter."""
    return Measurement(layer.best().loss, layer.loss, scale=1.0)


rule_above_hull = Claim(
    name="sparse_attention.rule_above_hull",
    summary="The rule with a limit lies on or above the lower hull of cost and error, where a price may not reach.",
    statement=r"\sum_h \mathrm{MSE}_{h i_h} \ge \max_{\lambda \ge 0} \sum_h \min_i \big(\mathrm{MSE}_{hi} + \lambda "
    r"c_i\big) - \lambda \sum_h c_{i_h}",
    source=Source.ours("weak duality for the modes of heads under a budget"),
    verdict=Always(1e-12),  # sums of at most 20 numbers and a product with a price
    instances=_layers,
    evaluate=_above_hull,
    near_miss=_price_beats_rule,
    sweep=Sweep(
        axis="largest error plus price of a mode",
        values=(0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0),
        draw=_film_layer,
        trials=20,
        quick_trials=3,
        measured_label="lower hull at the cost of the rule",
        bound_label="table at that cost",
        y_label="sum of relative errors over heads",
    ),
)


def _missed(names: tuple[str, ...]) -> Measurement:
    wrong = sum(want not in (None, got) for want, got in zip(PLANTED, names, strict=True))
    return Measurement(float(wrong), 0.5, scale=1.0)


def _recovered(film: PannedFilm) -> Measurement:
    """Count heads whose mode is not the planted one: three patterns, and skipping where the values are small.

    The head that looks at content may take any mode. Where neighbouring patches are much alike, as in the sky, a window
    of tokens errs hardly more than one of places in all frames; then the lower price of the former decides.
    """
    return _missed(film.plan(normalize="layer").modes)


def _by_its_own_energy(film: PannedFilm) -> Measurement:
    """Divide errors by the mean square of the head itself, so that skipping costs 1 for every head."""
    plan = film.plan()
    choice = attention.mode_rule(plan.mse / plan.mse[:, 1:2], plan.sparsities)
    return _missed(tuple(plan.names[mode] for mode in choice))


planted = Claim(
    name="sparse_attention.planted_modes",
    summary="On nine of ten crops of a photograph all planted patterns of heads are found, and a small head skipped.",
    statement=r"P\big(\#\{\text{heads whose mode is not the planted one}\} = 0\big) \ge 0.9",
    source=Source.measured("modes of heads driven by position hardly depend on the picture"),
    verdict=WithProbability(0.9, 0.2),
    evaluate=_recovered,
    near_miss=_by_its_own_energy,
    sweep=Sweep(
        axis="frames",
        values=(6.0,),
        draw=lambda rng, _: draw_film(rng, int(rng.integers(2**32))),
        trials=200,
        quick_trials=60,
        measured_label="heads with another mode",
        bound_label="half a head",
    ),
)
