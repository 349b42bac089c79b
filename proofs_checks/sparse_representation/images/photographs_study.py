"""Photographs in smooth light that is known: how well albedos are found, from one picture and from several."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.sparse_representation.images.mondrian import ALPHAS, albedo_error, smooth_shading
from sparsetheory.typing import Float64Array

_NAMES = ("astronaut", "brick", "camera", "chelsea", "coffee", "gravel", "page", "china", "flower")
_SIZE, _VIEWS, _FLOOR = 256, 8, 1 / 255
_METHODS: dict[str, tuple[int, dict[str, Any]]] = {
    "q = 0": (1, {"q": 0.0}),
    "q = 1/2": (1, {"q": 0.5}),
    "q = 1": (1, {"q": 1.0}),
    "q = 1, coupled": (1, {"q": 1.0, "coupled": True, "tol": 1e-3}),
    "8 pictures, q = 0": (_VIEWS, {"q": 0.0}),
    "8 pictures, median, q = 0": (_VIEWS, {"q": 0.0, "view": "median"}),
}
_COLUMNS = ("photograph", "picture as albedo", "mean of 8 as albedo", *_METHODS)


def _truth(name: str) -> Float64Array:
    """Return logarithms of the middle of a grey photograph."""
    photographs = core.datasets.load_photographs()
    image = dict(zip(photographs.names, photographs.images, strict=True))[name].mean(-1) / 255
    top, left = (max((length - _SIZE) // 2, 0) for length in image.shape)
    return np.asarray(np.log(image[top : top + _SIZE, left : left + _SIZE] + _FLOOR))


def _lit(truth: Float64Array, number: int) -> Float64Array:
    """Return logarithms of pictures in different light, with a hard shadow in each of several ones."""
    rng = np.random.default_rng(number)
    views = []
    for view in range(_VIEWS):
        light = smooth_shading(rng, truth.shape)
        if view:
            top, left = rng.integers(0, [length // 2 for length in truth.shape])
            light[top : top + truth.shape[0] // 3, left : left + truth.shape[1] // 3] -= 1.0
        views.append(truth + light)
    return np.array(views)


def _split(logs: Float64Array, alpha: float, options: dict[str, Any]) -> Any:
    with one_thread():
        return representation.retinex(tensor(np.exp(logs)), alpha, **options)


def _errors(truth: Float64Array, logs: Float64Array) -> tuple[list[float], dict[str, float]]:
    """Return the least errors over strengths, and the strengths that reach them."""
    errors, best = [], {}
    for method, (n_views, options) in _METHODS.items():
        pictures = logs[0] if n_views == 1 else logs
        found = {
            alpha: albedo_error(np.asarray(array(_split(pictures, alpha, options).albedo)), truth) for alpha in ALPHAS
        }
        best[method] = min(found, key=lambda alpha: found[alpha])
        errors.append(found[best[method]])
    return errors, best


def _plot(logs: Float64Array, truth: Float64Array, alpha: float) -> Callable[[Any], None]:
    split = _split(logs[0], alpha, _METHODS["q = 0"][1])
    shown = {
        "photograph": truth,
        "in smooth light": logs[0],
        "albedo found": np.asarray(array(split.albedo)),
        "shading found": np.asarray(array(split.shading)),
        "shading": logs[0] - truth,
    }

    def draw(figure: Any) -> None:
        figure.set_size_inches(11, 2.6)
        for ax, (title, values) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
            ax.imshow(values, cmap="gray")
            ax.set_title(title, fontsize=9)
            ax.set_axis_off()

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    pictures = {}
    rows: list[tuple[Any, ...]] = []
    for number, name in enumerate(_NAMES):
        truth = _truth(name)
        logs = _lit(truth, number)
        errors, best = _errors(truth, logs)
        raw = albedo_error(logs[0], truth), albedo_error(logs.mean(0), truth)
        rows.append((name, *(round(error, 3) for error in (*raw, *errors))))
        pictures[name] = (logs, truth, best["q = 0"])
    means = np.mean([row[1:] for row in rows], axis=0)
    rows.append(("mean", *(round(float(mean), 3) for mean in means)))
    notes = (
        f"Relative errors of logarithms, strengths by an oracle. The middle {_SIZE} x {_SIZE} pixels of photographs "
        "are taken as albedos, lit by known long waves; of 8 pictures 7 also have a hard shadow. Photographs are no "
        "patches of one colour, and small exponents do not gain here what they gain on drawn rectangles; edges that "
        "must fit together do. "
        + "; ".join(f"{column}: {mean:.3f}" for column, mean in zip(_COLUMNS[1:], means, strict=True))
        + "."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(*pictures["page"]))


retinex_photographs = Study(
    name="sparse_representation.retinex_photographs",
    title="Albedos of photographs in known light",
    description="Photographs times smooth shadings, split again by sparse edges of several exponents, from one picture "
    "and from eight.",
    run=_run,
)
