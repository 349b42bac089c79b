"""Claims about networks that are trained sparse on digits: how much masks change, and how they should fade in."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.sparse_training.straight_through.digit_networks import (
    STEPS_PER_EPOCH,
    Trained,
    train_side_by_side,
)
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array, IndexArray

_SEEDS = 8
_NETWORKS = "networks of 64, 128, 128 and 10 units on 1000 digits, He-normal weights, batches of 100"


def _draw(count: int) -> Callable[[np.random.Generator, float], "Sample"]:
    return lambda rng, epochs: Sample(int(epochs), rng.choice(_SEEDS, count, replace=False))


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of the networks that were trained for a number of epochs."""

    epochs: int
    networks: IndexArray

    def changes(self, alpha: float, last: int | None = None) -> Float64Array:
        """Return the divergence of masks of each network in the last epochs, or in all."""
        found: Float64Array = with_penalty(alpha, self.epochs).changes[-(last or self.epochs) :, self.networks].sum(0)
        return found

    def accuracy(self, method: str) -> float:
        """Return the mean accuracy of the networks on the other 797 digits."""
        return float(faded(method, self.epochs).accuracy[self.networks].mean())


@cache
def with_penalty(alpha: float, epochs: int, loader: str = "load_digits") -> Trained:
    """Train at 1:4 by momentum with the penalty of SR-STE; a negative one pushes away what the mask drops."""
    import torch

    return train_side_by_side(
        tuple(range(_SEEDS)),
        epochs,
        lambda weight: weights.SparseSTE(core.NM(1, 4)),
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        lambda optimizer, model: _penalise(optimizer, model, alpha),
        loader=loader,
    )


def _penalise(optimizer: Any, model: Any, alpha: float) -> None:
    # Users cannot ask for a negative penalty; it is turned round once it has been made.
    weights.srste_penalty(optimizer, model, abs(alpha)).alpha = alpha


_FADING = ("exp", "exp, scaled", "linear to 0.4", "linear to 0.8", "linear to 0.8, scaled")
_METHODS = ("STE", "SR-STE", *_FADING, "stepwise to 0.5", "stepwise to 1")


@cache
def faded(method: str, epochs: int) -> Trained:
    """Train at 1:16 by Adam, with a mask that fades in, or patterns that follow each other, as the method says."""
    import torch

    def hooks(optimizer: Any, model: Any) -> None:
        weights.StepCounter(optimizer, model)
        if method == "SR-STE":
            weights.srste_penalty(optimizer, model)

    n_steps = epochs * STEPS_PER_EPOCH
    pattern: Any = core.NM(1, 16)
    if method.startswith("stepwise"):
        pattern = core.StructureDecay("stepwise", pattern, n_steps, finetune=n_steps // 2 if "0.5" in method else 0)
    decay = _decay(method, n_steps)
    backward = "scaled" if method.endswith("scaled") else "ste"
    return train_side_by_side(
        tuple(range(_SEEDS)),
        epochs,
        lambda weight: weights.SparseSTE(pattern, mask_decay=decay, backward=backward),
        lambda model: torch.optim.Adam(model.parameters(), lr=2e-3),
        hooks,
    )


def _decay(method: str, n_steps: int) -> "core.MaskDecay | None":
    """Return exp(-8 u) up to u = 0.9 of training, or a line to zero."""
    if method.startswith("exp"):
        return core.MaskDecay("exp", 8 / n_steps, end=9 * n_steps // 10)
    if method.startswith("linear"):
        return core.MaskDecay("linear", 1 / (float(method.removesuffix(", scaled")[-3:]) * n_steps))
    return None


# By epochs: what plain training is at most of the negative penalty, and the positive one of plain training.
_FACTORS = {10: (1 / 1.3, 0.95), 40: (1 / 5, 0.8)}


def _ordered(sample: Sample) -> Measurement:
    """Compare the divergence of masks, in the network where that is closest to failing, and over all of training.

    The penalty pulls what is dropped to zero, so that it comes back more rarely; a negative one brings it back.
    """
    negative, plain, positive = (sample.changes(alpha) for alpha in (-2e-3, 0.0, 2e-3))
    first, second = _FACTORS[sample.epochs]
    found = Measurement.worst(np.stack([positive, plain]), np.stack([second * plain, first * negative]))
    means = {"penalty -0.002": negative, "penalty 0": plain, "penalty 0.002": positive}
    result = Measurement(found.measured, found.bound, extras={name: float(v.mean()) for name, v in means.items()})
    if sample.epochs < 40:
        return result
    late, late_plain = sample.changes(2e-3, 10), sample.changes(0.0, 10)
    return result.and_chain({"last 10 epochs": float(late.max()), "0.3 of plain": 0.3 * float(late_plain.min())})


def _penalty_stirs(sample: Sample) -> Measurement:
    """Expect the penalty to make masks change more."""
    return Measurement.worst(sample.changes(0.0), sample.changes(2e-3))


mask_changes = Claim(
    name="sparse_training.mask_changes",
    summary="The penalty of SR-STE calms the masks of a network, and the opposite penalty stirs them.",
    statement=r"\text{SAD}(\alpha = 0.002) < \text{SAD}(0) < \text{SAD}(-0.002)",
    source=Source.measured(
        f"{_NETWORKS}, 1:4 in two layers, momentum 0.9, learning rate 0.1 to 0; three of eight seeds in each trial, and"
        " ordered in each of these; 2.5, 0.25 and 0.15 changes per weight in 40 epochs"
    ),
    verdict=WithProbability(0.9),
    evaluate=_ordered,
    near_miss=_penalty_stirs,
    sweep=Sweep(
        axis="epochs",
        values=(10.0, 40.0),
        draw=_draw(3),
        trials=40,
        quick_trials=21,
        quick_values=(10.0,),
        log="y",
        measured_label="closest to failing",
        bound_label="its bound",
        y_label="mask changes per weight",
    ),
)


def _true_gradient_is_worse(sample: Sample) -> Measurement:
    """Compare accuracies: scaled with unchanged gradients, and a line that ends late with one that ends early.

    After 30 epochs also SR-STE less one point with the mask that fades in exponentially.
    """
    found = Measurement(sample.accuracy("exp, scaled"), sample.accuracy("exp"))
    found = found.and_chain({m: sample.accuracy(m) for m in ("linear to 0.8", "linear to 0.4")})
    if sample.epochs < 30:
        return found
    return found.and_chain({"SR-STE - 0.01": sample.accuracy("SR-STE") - 0.01, "exp(-8u)": sample.accuracy("exp")})


def _true_gradient_is_better(sample: Sample) -> Measurement:
    """Expect of a network what holds on quadratics."""
    return Measurement(sample.accuracy("exp"), sample.accuracy("exp, scaled"))


fading_networks = Claim(
    name="sparse_training.fading_networks",
    summary="In a network, masks should fade in early, and with gradients that pass unchanged.",
    statement=r"\text{accuracy}(\text{scaled}) \le \text{accuracy}(\text{unchanged}), \quad"
    r" \text{accuracy}(\text{ends at } 0.8) \le \text{accuracy}(\text{ends at } 0.4)",
    source=Source.measured(
        f"{_NETWORKS}, 1:16 in two layers, Adam, hard-masked accuracy; mean of five of eight seeds in each trial; 1.4"
        " and 1.6 points in 30 epochs. On quadratics the scaled gradient is the better one"
    ),
    verdict=WithProbability(0.9),
    evaluate=_true_gradient_is_worse,
    near_miss=_true_gradient_is_better,
    sweep=Sweep(
        axis="epochs",
        values=(10.0, 30.0),
        draw=_draw(5),
        trials=40,
        quick_trials=21,
        quick_values=(10.0,),
        measured_label="exp(-8u), scaled gradient",
        bound_label="exp(-8u), unchanged gradient",
        y_label="accuracy",
    ),
)


def _runs(profile: str) -> StudyResult:
    short = profile == "quick"
    rows: list[tuple[Any, ...]] = []
    for alpha in (-2e-3, 0.0, 2e-4, 2e-3, 1e-2):
        run = with_penalty(alpha, 10 if short else 40)
        late = run.changes[-max(1, len(run.changes) // 4) :].sum(0)
        rows.append(_row(f"1:4, momentum, penalty {alpha:g}", run, round(float(late.mean()), 5)))
    rows += [_row(f"1:16, Adam, {method}", faded(method, 10 if short else 30), None) for method in _METHODS]
    return StudyResult(
        ("training", "mask changes", "in the last quarter", "accuracy", "s.d."), rows, _NOTES, _plot(rows)
    )


_NOTES = (
    "Mask changes are entries per weight over all epochs. They fall with the penalty; accuracy does not rise with it "
    "at this scale. A mask that fades in gains nothing over SR-STE here, and costs nothing if it ends early and "
    "gradients pass unchanged."
)


def _row(title: str, run: Trained, late: float | None) -> tuple[Any, ...]:
    accuracy = run.accuracy
    changes = round(float(run.changes.sum(0).mean()), 3)
    return title, changes, late, round(float(accuracy.mean()), 4), round(float(accuracy.std(ddof=1)), 4)


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        for i, (column, title) in enumerate(((1, "mask changes per weight"), (3, "accuracy on other digits"))):
            ax = figure.add_subplot(1, 2, i + 1)
            ax.barh([row[0] for row in rows], [row[column] for row in rows])
            ax.invert_yaxis()
            ax.set_xlabel(title)
            if column == 3:
                ax.set_xlim(left=0.9 * min(row[3] for row in rows))
                ax.set_yticklabels([])

    return draw


digit_networks = Study(
    name="sparse_training.digit_networks",
    title="Networks that are trained sparse on digits",
    description="Eight seeds each of a perceptron with two sparse layers: plain straight-through training, SR-STE with "
    "several penalties, and masks that fade in. Reported, not asserted: accuracies.",
    run=_runs,
)
