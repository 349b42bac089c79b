"""Claims about recommenders whose entries move during training: what it gains, and where the entries go."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.feedback import Feedback, draw_feedback
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.recommenders import (
    Recipe,
    Recommender,
    greedy_start,
    refilled,
)
from sparsetheory.proofs_checks.verdicts import WithProbability

_GAIN, _CORRELATION, _LEAD = 0.05, 0.5, 0.03
_SYNTHETIC = "synthetic feedback of 400 users on 300 items, rows of 32, pairwise ranking by Adam"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Feedback, a density, and a seed of all recommenders."""

    feedback: Feedback
    density: float
    seed: int

    @cached_property
    def static(self) -> Recommender:
        """Under a random mask that stays."""
        return self._with(None)

    @cached_property
    def accumulated(self) -> Recommender:
        """Growth by accumulated gradients."""
        return self._with("accumulated")

    @cached_property
    def last_batch(self) -> Recommender:
        """Growth by the gradient of the last batch."""
        return self._with("last batch")

    @cached_property
    def greedy_mask(self) -> Recommender:
        """Random values under the mask of greedy rows, which stays."""
        rows = greedy_start(self.feedback, self.density)
        return self._with(None, refilled(rows, self.seed))

    def _with(self, growth: str | None, rows: tuple[Any, Any] | None = None) -> Recommender:
        return Recommender(self.feedback, self.seed, Recipe(), self.density, growth, rows=rows)


def _draw(rng: np.random.Generator, density: float) -> Comparison:
    return Comparison(draw_feedback(rng), density, int(rng.integers(2**31)))


def _sweep(y_label: str, measured: str, bound: str, values: tuple[float, ...] = (0.1, 0.2, 0.35, 0.5)) -> Sweep:
    return Sweep(
        axis="density",
        values=values,
        draw=_draw,
        trials=12,
        quick_trials=6,
        quick_values=(0.2,),
        measured_label=measured,
        bound_label=bound,
        y_label=y_label,
    )


def _against_static(case: Comparison) -> Measurement:
    """Compare recalls at the same number of entries."""
    return Measurement(case.static.recall + _GAIN, case.accumulated.recall, scale=1.0)


def _static_suffices(case: Comparison) -> Measurement:
    """Expect a mask that stays to come within the same distance."""
    return Measurement(case.accumulated.recall, case.static.recall + _GAIN, scale=1.0)


dynamic_embeddings = Claim(
    name="dynamic_sparsity.dynamic_embeddings",
    summary="Tables whose entries move find more items than tables of as many entries under a random mask that stays.",
    statement=r"\text{recall@20}(\text{dynamic}) \ge \text{recall@20}(\text{static}) + 0.05",
    source=Source.measured(_SYNTHETIC),
    verdict=WithProbability(0.8, margin=0.35),
    evaluate=_against_static,
    near_miss=_static_suffices,
    sweep=_sweep("recall at 20", "static mask, and 0.05", "entries that move"),
)


def _against_last_batch(case: Comparison) -> Measurement:
    """Compare recalls of two scores of growth: gradients of all batches so far, and of the last one."""
    return Measurement(case.last_batch.recall, case.accumulated.recall, scale=1.0)


def _last_batch_suffices(case: Comparison) -> Measurement:
    """Expect the last batch to show as well as all of them where entries are missing."""
    return Measurement(case.accumulated.recall, case.last_batch.recall, scale=1.0)


accumulated_growth = Claim(
    name="dynamic_sparsity.accumulated_growth",
    summary="Growth by accumulated gradients finds at least as many items as growth by the gradient of the last batch.",
    statement=r"\text{recall@20}\left(\textstyle\sum_s \gamma^{t - s} g_s\right) \ge \text{recall@20}(g_t)",
    source=Source.measured(_SYNTHETIC),
    verdict=WithProbability(0.8, margin=0.35),
    evaluate=_against_last_batch,
    near_miss=_last_batch_suffices,
    sweep=_sweep("recall at 20", "gradient of the last batch", "accumulated gradients"),
)


def _popular_rows(case: Comparison) -> Measurement:
    """Compare the rank correlation of an item's users and its entries with 0.5."""
    return Measurement(_CORRELATION, case.accumulated.popularity_correlation, scale=1.0)


def _popular_rows_by_chance(case: Comparison) -> Measurement:
    """Expect the same of a random mask that stays."""
    return Measurement(_CORRELATION, case.static.popularity_correlation, scale=1.0)


popularity = Claim(
    name="dynamic_sparsity.popularity",
    summary="Entries that move go to the items that many users have.",
    statement=r"\rho_{\text{Spearman}}(\text{users of item } i,\ |\operatorname{supp}(v_i)|) > 0.5",
    source=Source.measured(_SYNTHETIC),
    verdict=WithProbability(0.8, margin=0.35),
    evaluate=_popular_rows,
    near_miss=_popular_rows_by_chance,
    # Rows of three entries in the mean, at a density of 0.1, have too few ranks.
    sweep=_sweep("rank correlation", "at least", "users and entries of items", (0.2, 0.35, 0.5)),
)


def _greedy_mask(case: Comparison) -> Measurement:
    """Compare a mask that stays, from greedy rows, with entries that move, from a random mask; values start alike.

    Greedy rows cost a singular value decomposition of the whole matrix and one round of least squares. What they know
    of the values is thrown away here: only where entries pay is kept.
    """
    return Measurement(case.accumulated.recall + _LEAD, case.greedy_mask.recall, scale=1.0)


def _moving_suffices(case: Comparison) -> Measurement:
    """Expect training to find such places by itself."""
    return Measurement(case.greedy_mask.recall, case.accumulated.recall + _LEAD, scale=1.0)


greedy_start_mask = Claim(
    name="dynamic_sparsity.greedy_start_mask",
    summary="On synthetic feedback at low density, a fixed mask of greedy least-squares rows finds more items than"
    " entries that move from a random mask.",
    statement=r"\text{recall@20}(\text{greedy mask, fixed}) \ge \text{recall@20}(\text{dynamic, random start}) + 0.03"
    r" \quad \text{at } D \le 0.2",
    source=Source.measured(_SYNTHETIC),
    verdict=WithProbability(0.8, margin=0.35),
    evaluate=_greedy_mask,
    near_miss=_moving_suffices,
    sweep=Sweep(
        axis="density",
        values=(0.05, 0.1, 0.15, 0.2),
        draw=_draw,
        trials=12,
        quick_trials=6,
        quick_values=(0.1,),
        measured_label="entries that move, and 0.03",
        bound_label="greedy mask that stays",
        y_label="recall at 20",
    ),
)
