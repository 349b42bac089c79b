"""Claim and study about what sparse weights, sparse gradients and fewer data cost a continual learner in accuracy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.dynamic_sparsity.sparcl.class_incremental import ARMS, Learned, learn
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array, IndexArray

_SEEDS, _DRAWN, _LOSS = 4, 3, 0.07
_TESTED = ("sparse weights", "sparse weights and gradients", "fewer data", "all three")


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of the seeds of an arm, and the dense learners of the same seeds."""

    arm: str
    seeds: IndexArray

    def mean(self, what: str, arm: str) -> float:
        """Return the mean accuracy or forgetting of an arm."""
        return float(np.mean([getattr(learn(arm, int(seed)), what) for seed in self.seeds]))

    @property
    def fall(self) -> float:
        """By how much the mean accuracy is below that of dense learning."""
        return self.mean("accuracy", "dense") - self.mean("accuracy", self.arm)

    @property
    def rise(self) -> float:
        """By how much the mean forgetting is above that of dense learning."""
        return self.mean("forgetting", self.arm) - self.mean("forgetting", "dense")


def _draw(rng: np.random.Generator, number: float) -> Sample:
    return Sample(_TESTED[int(number) - 1], rng.choice(_SEEDS, _DRAWN, replace=False))


def _close(case: Sample) -> Measurement:
    """Compare the loss of accuracy and the gain of forgetting with 0.07 each."""
    return Measurement(case.fall, _LOSS, 1.0, {"rise of forgetting": case.rise}, (("rise of forgetting", "bound"),))


def _free(case: Sample) -> Measurement:
    """Expect sparse learning to lose nothing, as at the published scale."""
    return Measurement(case.fall, 0.0, 1.0)


sparcl_accuracy = Claim(
    name="dynamic_sparsity.sparcl_accuracy",
    summary="Two digits at a time, with a quarter of the weights, a fifth of the gradients and fewer data: accuracy "
    "falls and forgetting rises by at most 0.07.",
    statement=r"\mathrm{acc} \ge \mathrm{acc}_{\text{dense}} - 0.07, \quad"
    r" \mathrm{forgetting} \le \mathrm{forgetting}_{\text{dense}} + 0.07 \text{ (means of three seeds)}",
    source=Source.measured("digits, 5 tasks of 2 classes, perceptron of 64, 128, 128 and 10 units, DER++, 50 stored"),
    verdict=WithProbability(0.9, margin=0.25),
    evaluate=_close,
    near_miss=_free,
    sweep=Sweep(
        axis="1: weights, 2: and gradients, 3: data, 4: all three",
        values=(1, 2, 3, 4),
        draw=_draw,
        trials=20,
        quick_trials=13,
        quick_values=(4,),
        measured_label="fall of accuracy",
        bound_label="0.07",
        y_label="dense less sparse",
    ),
)

_COLUMNS = (
    "data",
    "arm",
    "accuracy",
    "less dense",
    "seeds above dense",
    "forgetting",
    "more than dense",
    "operations",
    "with choices",
    "kind",
    "explored",
)
_NOTES = (
    "Means over seeds; accuracy is among all ten classes. Operations are those of training relative to dense training, "
    "with the classifier, which stays dense. The published count leaves out that each choice of a gradient mask needs "
    "the gradients of all weights that are there; the column beside it does not. Kind and explored share of weights "
    "are read from the history of the masks. The last three rows are peers: masks that stay as they are, a dense "
    "network of as many weights, and dense training for about as many operations."
)


def _operations(run: Learned, name: str, every: int | None) -> float:
    """Return the operations of training relative to those of the dense arm, all layers counted."""
    arm, n_inputs = ARMS[name], run.model[0].in_features
    shares = [_products(ARMS[which].widths(n_inputs)) for which in (name, "dense")]
    hidden = shares[0][0] * dynamic.sparcl_cost(run.density, arm.q or 0.0, 1.0, every if arm.q else None)
    per_sample = (hidden + shares[0][1]) / sum(shares[1])
    return run.data_fraction * per_sample * arm.epochs / ARMS["dense"].epochs


def _products(widths: list[int]) -> tuple[int, int]:
    """Return the products of a forward pass in hidden layers and in the classifier."""
    first, second, third, last = widths
    return first * second + second * third, third * last


def _values(what: str, name: str, seeds: range, loader: str) -> Float64Array:
    return np.array([getattr(learn(name, seed, loader), what) for seed in seeds])


_TITLES = {"load_digits": "digits", "load_mnist_5k": "MNIST-5k"}


def _row(name: str, seeds: range, loader: str) -> tuple[Any, ...]:
    accuracy, forgetting = (_values(what, name, seeds, loader) for what in ("accuracy", "forgetting"))
    better = accuracy - _values("accuracy", "dense", seeds, loader)
    more = forgetting - _values("forgetting", "dense", seeds, loader)
    run = learn(name, 0, loader)
    taxonomy = None if run.report is None else run.report.taxonomy
    return (
        _TITLES[loader],
        name,
        *(round(float(number.mean()), 3) for number in (accuracy, better)),
        f"{int((better > 0).sum())} of {len(seeds)}",
        *(round(float(number.mean()), 3) for number in (forgetting, more)),
        *(round(_operations(run, name, every), 3) for every in (None, 30)),
        "dense" if taxonomy is None else taxonomy.kind,
        None if taxonomy is None or taxonomy.explored is None else round(taxonomy.explored, 3),
    )


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        sets = list(dict.fromkeys(row[0] for row in rows))
        for place, arm in enumerate(ARMS):
            for marker, data in zip("os", sets, strict=False):
                points = [(row[8], row[2]) for row in rows if row[:2] == (data, arm)]
                # Filled and open signs, as there are more arms than colours.
                face = f"C{place % 6}" if place < 6 else "none"
                label = arm if data == sets[0] else None
                ax.scatter(
                    *zip(*points, strict=True), marker=marker, color=f"C{place % 6}", facecolor=face, label=label
                )
        ax.set_xscale("log")
        ax.set_xticks([0.2, 0.3, 0.5, 1.0], ["0.2", "0.3", "0.5", "1"])
        ax.minorticks_off()
        ax.set_xlabel("operations of training, relative to dense")
        ax.set_ylabel("accuracy after five tasks")
        ax.set_title(
            " and ".join(f"{data} ({shape})" for data, shape in zip(sets, ("circles", "squares"), strict=False))
        )
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)

    return draw


def _study(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    sets = {"load_digits": range(8), "load_mnist_5k": range(3)}
    rows = [_row(name, seeds, loader) for loader, seeds in sets.items() for name in ARMS]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


sparcl_arms = Study(
    name="dynamic_sparsity.sparcl_arms",
    title="Sparse continual learning, part by part, beside its peers",
    description="Handwritten digits, two classes at a time, by DER++ with 50 stored samples: dense, with each part of "
    "SparCL, with all of them, and with what costs as much otherwise; then the same with 5000 digits of MNIST.",
    run=_study,
)
