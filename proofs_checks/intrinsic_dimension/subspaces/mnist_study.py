"""The intrinsic dimension of MNIST for a perceptron with 50890 weights."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import dimension
from sparsetheory.proofs_checks.intrinsic_dimension.subspaces import networks
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

_DIMS, _N_SEEDS = (50, 100, 200, 400, 800), 2
_N_TRAIN, _N_STEPS, _BATCH, _RESOLUTION = 4000, 250, 500, 50
_PIXELS, _N_WEIGHTS = 784, 50890
_COLUMNS = ("map", "dimension", "accuracy", "share of direct training")
_NAMES = {"SparseProjection": "sparse", "FastfoodProjection": "Fastfood"}


@cache
def _task(seed: int) -> networks.Task:
    x, y = shuffled_digits(seed, "load_mnist_5k")
    return networks.Task(x[:_N_TRAIN], y[:_N_TRAIN], x[_N_TRAIN:], y[_N_TRAIN:])


def _score(model: Any, seed: int, lr: float) -> float:
    task = _task(seed % _N_SEEDS)
    return networks.accuracy(networks.fitted(model, task, lr, _N_STEPS, batch_size=_BATCH), task)


def _in_subspace(kind: str) -> Callable[[int, int], float]:
    def train_eval(d: int, seed: int) -> float:
        module = networks.network(seed, n_inputs=_PIXELS)
        return _score(networks.in_subspace(module, d, kind, seed), seed, networks.LR["subspace"])

    return train_eval


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    direct = float(
        np.mean([_score(networks.network(seed, n_inputs=_PIXELS), seed, networks.LR["direct"]) for seed in range(2)])
    )
    found = {
        kind: dimension.intrinsic_dimension(
            _in_subspace(kind), direct, _DIMS, n_repeats=_N_SEEDS, resolution=_RESOLUTION
        )
        for kind in _NAMES
    }
    rows = [
        (_NAMES[kind], d, round(float(np.mean(values)), 3), round(float(np.mean(values)) / direct, 3))
        for kind, one in found.items()
        for d, values in one.curve.items()
    ]
    sizes = ", ".join(f"{one.n_components} for the {_NAMES[kind]} map" for kind, one in found.items())
    notes = (
        f"5000 pictures, {_N_TRAIN} to train on, {_N_STEPS} steps of {_BATCH}; direct training of all {_N_WEIGHTS} "
        f"weights reaches {direct:.3f}. The intrinsic dimension at 90 % is {sizes}, to within {_RESOLUTION}: the order "
        "of the 750 that were published for a larger network and all of MNIST."
    )

    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(found), sharey=True)
        for ax, (kind, one) in zip(axes, found.items(), strict=True):
            one.plot(ax)
            ax.set_title(f"{_NAMES[kind]} map")

    return StudyResult(_COLUMNS, rows, notes, draw)


mnist_dimension = Study(
    name="intrinsic_dimension.mnist",
    title="Intrinsic dimension of MNIST",
    description="A perceptron 784-64-10 is trained in random subspaces of growing dimension; the search brackets the "
    "dimension that reaches 90 % of the accuracy of direct training.",
    run=_run,
)
