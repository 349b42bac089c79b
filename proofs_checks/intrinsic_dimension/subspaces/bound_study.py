"""A bound that says something: digits in few dimensions of few bits, from a fresh and from a pre-trained start."""

from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import dimension
from sparsetheory.proofs_checks.intrinsic_dimension.subspaces import networks
from sparsetheory.typing import Float64Array

_SEEDS, _DIMS, _BITS, _RADII = range(3), (5, 10, 20, 40, 80, 160), (2, 3, 4, 6), (2.0, 4.0, 8.0)
_N_STEPS, _N_PRETRAIN = 200, 500
_N_SAMPLE = networks.N_TRAIN - _N_PRETRAIN
_STARTS = ("fresh", "pre-trained on other digits")
_COLUMNS = ("start", "dimension", "bits", "error on the sample", "error on new samples", "bound")


def _tasks(seed: int) -> tuple[networks.Task, networks.Task]:
    """Return digits to pre-train on, and others, moved by a pixel, as the sample and to judge by."""
    digits = networks.digits(seed)
    n = _N_PRETRAIN
    old = networks.Task(digits.x[:n], digits.y[:n], digits.held_x, digits.held_y)
    new = networks.Task(digits.x[n:], digits.y[n:], digits.held_x, digits.held_y)
    return old, networks.shifted(new)


def _certified(seed: int, start: str, d: int) -> tuple[float, ...]:
    """Return bits, errors and bound of the setting with the best bound, which pays for the choice among all."""
    old, new = _tasks(seed)
    module = networks.network(seed)
    if start != _STARTS[0]:
        networks.fitted(module, old, networks.LR["direct"], _N_STEPS)
    model = networks.fitted(networks.in_subspace(module, d, seed=seed), new, networks.LR["subspace"], _N_STEPS)
    n_choices = len(_BITS) * len(_RADII)
    found = [
        dimension.certify_subspace(model, new.x, new.y, bits=bits, radius=radius, n_choices=n_choices)
        for bits in _BITS
        for radius in _RADII
    ]
    best = min(found, key=lambda one: one.bound).check(model, new.x, new.y)
    error = 1 - networks.accuracy(model.quantized(best.bits, best.radius), new)
    return best.bits, best.train_loss, error, best.bound


def _plot(table: Float64Array) -> Any:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(_STARTS), sharey=True)
        for ax, start, part in zip(axes, _STARTS, table.mean(axis=0), strict=True):
            for index, (name, line) in enumerate(zip(_COLUMNS[3:], (":", "-", "--"), strict=True)):
                ax.plot(_DIMS, part[:, 1 + index], f"o{line}", color=f"C{index}", label=name)
            ax.set_title(start)
            ax.set_xscale("log")
            ax.set_xlabel("dimension of the subspace")
        axes[0].set_ylabel("share of errors")
        axes[0].legend()

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    table = np.array([[[_certified(seed, start, d) for d in _DIMS] for start in _STARTS] for seed in _SEEDS])
    means = table.mean(axis=0)
    rows = [
        (start, d, *(round(float(value), 3) for value in means[i, j]))
        for i, start in enumerate(_STARTS)
        for j, d in enumerate(_DIMS)
    ]
    best = means[..., 3].min(axis=1)
    below = int((table[..., 2] > table[..., 3]).sum())
    n_choices = len(_BITS) * len(_RADII)
    notes = (
        f"Means of {len(_SEEDS)} seeds, {_N_SAMPLE} samples, delta = 0.05. Each bound pays for the "
        f"choice among {n_choices} pairs of bits and radius, and holds for all dimensions at once. The best mean bound "
        f"is {best[0]:.2f} from a fresh start and {best[1]:.2f} from a pre-trained one, whose data are independent of "
        f"the sample; chance is 0.9. The error on new samples is above the bound in {below} of {table[..., 0].size} "
        "runs."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(table))


occam_bounds = Study(
    name="intrinsic_dimension.occam_bounds",
    title="Certified errors of networks in few dimensions",
    description="Networks for digits are trained in subspaces, rounded to few bits, and certified by the bound for few "
    "numbers: fresh ones, and ones that were pre-trained on other digits.",
    run=_run,
)
