"""Claims about random masks at the start of training. Nobody has proved them; they were measured."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.proofs_checks.weight_structure.sparse_digits import DIGITS, N_NETWORKS, accuracies
from sparsetheory.typing import IndexArray

_WIDTHS = (16.0, 64.0, 256.0)
_CHOSEN = 4
_AT_MOST = 0.05
_WHERE = (
    f"digits, two hidden layers, density {DIGITS.density:g}; each trial is the mean of {_CHOSEN} of {N_NETWORKS} "
    "networks, after Liu et al. (2202.02643)"
)


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of the networks of one width."""

    width: int
    chosen: IndexArray

    def mean(self, rule: str, width: int | None = None) -> float:
        """Return the mean accuracy under a rule, of the same networks at another width if one is given."""
        return float(accuracies(width or self.width)[rule][self.chosen].mean())

    def gap(self, rule: str, width: int | None = None) -> float:
        """Return by how much the dense networks are better."""
        return self.mean("dense", width) - self.mean(rule, width)


def _draw(rng: np.random.Generator, width: float) -> Sample:
    return Sample(int(width), rng.choice(N_NETWORKS, _CHOSEN, replace=False))


def _sweep(widths: tuple[float, ...], measured_label: str, bound_label: str, y_label: str) -> Sweep:
    return Sweep(
        axis="units of a hidden layer",
        values=widths,
        draw=_draw,
        trials=40,
        quick_trials=14,
        log="x",
        measured_label=measured_label,
        bound_label=bound_label,
        y_label=y_label,
    )


def _gap(sample: Sample) -> Measurement:
    """Compare the gap with the one at a quarter of the width, and at the largest width with 5 %.

    At the smallest width nothing is below, and the bound is 1.
    """
    narrower = sample.width // 4
    found, bound = sample.gap("er"), sample.gap("er", narrower) if narrower >= _WIDTHS[0] else 1.0
    # Strictly smaller: by more than rounding.
    measured = Measurement(found + 1e-6, bound, scale=1.0, extras={"uniform": sample.gap("uniform")})
    return measured.and_chain({"Erdős-Rényi": found, "5 %": _AT_MOST}) if sample.width == _WIDTHS[-1] else measured


def _no_gap(sample: Sample) -> Measurement:
    """Expect a gap of at most 5 % at all widths."""
    return Measurement(sample.gap("er"), _AT_MOST, scale=1.0)


random_gap = Claim(
    name="weight_structure.random_gap",
    summary="The wider the layers, the closer come random masks of density 0.1 to dense networks: within 5 % at 256.",
    statement=r"\text{gap}(w) = \text{accuracy}_{\text{dense}} - \text{accuracy}_{\text{ER}}, \quad"
    r" \text{gap}(16) > \text{gap}(64) > \text{gap}(256) \le 0.05",
    source=Source.measured(_WHERE),
    verdict=WithProbability(0.8),
    evaluate=_gap,
    near_miss=_no_gap,
    sweep=_sweep(_WIDTHS, "Erdős-Rényi", "a quarter of the width", "dense accuracy minus sparse"),
)


def _rules(sample: Sample) -> Measurement:
    """Compare uniform with Erdős-Rényi densities; the dense accuracy is shown beside them."""
    return Measurement(
        sample.mean("uniform") + 1e-6, sample.mean("er"), scale=1.0, extras={"dense": sample.mean("dense")}
    )


def _equal_is_better(sample: Sample) -> Measurement:
    """Expect equal densities to be better."""
    return Measurement(sample.mean("er"), sample.mean("uniform"), scale=1.0)


er_above_uniform = Claim(
    name="weight_structure.er_above_uniform",
    summary="Random masks with Erdős-Rényi densities train better than those with equal ones, from 64 units on.",
    statement=r"\text{accuracy}_{\text{uniform}}(w) < \text{accuracy}_{\text{ER}}(w), \quad w \in \{64, 256\}",
    source=Source.measured(_WHERE),
    verdict=WithProbability(0.8),
    evaluate=_rules,
    near_miss=_equal_is_better,
    sweep=_sweep(_WIDTHS[1:], "uniform", "Erdős-Rényi", "accuracy"),
)
