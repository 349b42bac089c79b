"""How fast test losses fall with more samples, for data of known intrinsic dimension."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, dimension
from sparsetheory.proofs_checks.intrinsic_dimension.points.clouds import cubes
from sparsetheory.typing import Float64Array

_DIMENSIONS = (1, 2, 3, 5, 8)
_SIZES = {"quick": (100, 400, 1600), "full": (100, 200, 400, 800, 1600, 3200, 6400)}
_N_TEST, _N_FEATURES = 500, 50
_COLUMNS = ("dimension", "theory: slope", "nearest neighbour: slope", "its 1 / slope", "network: slope", "TwoNN")
_NOTES = (
    "Slope of log loss against log N, for the mean absolute error of a smooth function on a synthetic cube in a random "
    "subspace of 50 dimensions. Theory bounds the loss by the power -1/d, and the nearest neighbour follows it. A "
    "network, in the full profile, hardly gains from more samples: after 2000 steps of Adam at every N, what is left "
    "is the error of optimisation. So the slope of a learner tells the dimension only where samples are what it lacks."
)


def _target(X: Float64Array) -> Float64Array:
    """Return a smooth function of all directions of the data."""
    weights = np.linalg.qr(np.random.default_rng(0).standard_normal((X.shape[1], 4)))[0]
    return np.asarray(np.cos(3 * X @ weights).sum(1))


def _nearest_loss(X: Float64Array, test: Float64Array) -> float:
    from sklearn.neighbors import KNeighborsRegressor

    model = KNeighborsRegressor(1, algorithm="kd_tree").fit(X, _target(X))
    return float(np.abs(model.predict(test) - _target(test)).mean())


def _network_loss(X: Float64Array, test: Float64Array) -> float:
    import torch

    model = core.models.MLP([X.shape[1], 128, 128, 1], activation="tanh", initialisation="glorot_uniform")
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    x, y = torch.tensor(X).float(), torch.tensor(_target(X)).float()[:, None]
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 2000)
    core.train(
        model,
        x,
        y,
        optimizer=adam,
        n_steps=2000,
        batch_size=256,
        loss=torch.nn.functional.mse_loss,
        scheduler=decay,
    )
    with torch.no_grad():
        predicted = model(torch.tensor(test).float())[:, 0].numpy()
    return float(np.abs(predicted - _target(test)).mean())


def _plot(profile: str, curves: dict[str, dict[int, list[float]]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
        for ax, (name, losses) in zip(axes, curves.items(), strict=True):
            for d, values in losses.items():
                ax.loglog(_SIZES[profile], values, "o-", label=f"d = {d}")
            ax.set(title=name, xlabel="samples")
        axes[0].set_ylabel("mean absolute error, synthetic data")
        axes[0].legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    sizes = _SIZES[profile]
    learners = {"nearest neighbour": _nearest_loss}
    if profile == "full":
        learners["network"] = _network_loss
    curves: dict[str, dict[int, list[float]]] = {name: {} for name in learners}
    rows = []
    for d in _DIMENSIONS:
        X = cubes(d, d, max(sizes) + _N_TEST, _N_FEATURES)
        test, train = X[:_N_TEST], X[_N_TEST:]
        for name, loss in learners.items():
            curves[name][d] = [loss(train[:n], test) for n in sizes]
        laws = [dimension.fit_scaling_law(sizes, curves[name][d]) for name in learners]
        network = round(laws[1].slope, 3) if len(laws) > 1 else "full profile"
        found = round(dimension.twonn_dimension(train), 2)
        rows.append((d, round(-1 / d, 3), round(laws[0].slope, 3), round(laws[0].dimension, 2), network, found))
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(profile, curves))


scaling_laws = Study(
    name="intrinsic_dimension.scaling_laws",
    title="Scaling laws and intrinsic dimension",
    description="Slopes of test losses in the number of samples on synthetic cubes of known dimension: a nearest "
    "neighbour and a network, beside the power that theory promises.",
    run=_run,
)
