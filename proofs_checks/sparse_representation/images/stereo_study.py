"""Views of a measured depth map, some with blocks that are wrong, fused by means, medians and robustly."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.sparse_representation.images.fusion import unexplained
from sparsetheory.typing import BoolArray, Float64Array

_VIEWS, _NOISE, _BLOCK, _STEP, _SEEDS = 8, 0.05, 12, 2, range(3)
_BAD = (0, 1, 2, 3, 4)
_COLUMNS = ("bad views", "mean", "median", "robust", "worst robust / median", "mean weight, good views", "bad blocks")


def _disparity() -> tuple[Float64Array, BoolArray]:
    """Return a standardised disparity map, every second pixel, and where it is known."""
    found = core.datasets.load_motorcycle().disparity[::_STEP, ::_STEP].astype(float)
    known = np.isfinite(found)
    return np.where(known, (found - found[known].mean()) / found[known].std(), 0.0), known


def _views(seed: int, n_bad: int, z: Float64Array) -> tuple[Float64Array, BoolArray]:
    """Return views, and where they are wrong: 40 % of the blocks of bad views show other places of the map."""
    rng = np.random.default_rng((seed, n_bad))
    shape = (_VIEWS, *z.shape)
    views, wrong = np.empty(shape), np.zeros(shape, dtype=bool)
    for view in range(_VIEWS):
        seen = z
        if view < n_bad:
            blocks = rng.random([-(-length // _BLOCK) for length in z.shape]) < 0.4
            wrong[view] = np.kron(blocks, np.ones((_BLOCK, _BLOCK), dtype=bool))[: z.shape[0], : z.shape[1]]
            seen = np.where(wrong[view], 3 * np.roll(z, rng.integers(30, 100, size=2), (0, 1)) - 2, z)
        views[view] = rng.uniform(0.5, 2) * seen + rng.standard_normal() + _NOISE * rng.standard_normal(z.shape)
    return views, wrong


def _fused(views: Float64Array, known: BoolArray) -> Any:
    mask = np.broadcast_to(known, views.shape)
    with one_thread():
        return representation.robust_fuse(tensor(views), mask=tensor(mask))


def _compared(seed: int, n_bad: int) -> list[float]:
    z, known = _disparity()
    views, wrong = _views(seed, n_bad, z)
    rows = views[:, known]
    centred = rows - np.median(rows, axis=1, keepdims=True)
    standardised = centred / np.median(np.abs(centred), axis=1, keepdims=True)
    fused = _fused(views, known)
    weights = np.asarray(array(fused.weights))
    return [
        unexplained(standardised.mean(0), z[known]),
        unexplained(np.median(standardised, axis=0), z[known]),
        unexplained(np.asarray(array(fused.z))[known], z[known]),
        float(weights[n_bad:][:, known].mean()),
        float(weights[wrong & known].mean()) if n_bad else float("nan"),
    ]


def _plot(n_bad: int) -> Callable[[Any], None]:
    z, known = _disparity()
    views, _ = _views(0, n_bad, z)
    fused = _fused(views, known)
    shown = {
        "disparity": np.where(known, z, np.nan),
        "a bad view": np.where(known, views[0], np.nan),
        "weights of the bad view": np.where(known, np.asarray(array(fused.weights))[0], np.nan),
        f"fused, {n_bad} bad views of {_VIEWS}": np.asarray(array(fused.z)),
    }

    def draw(figure: Any) -> None:
        figure.set_size_inches(11, 2.6)
        for ax, (title, values) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
            ax.imshow(values, cmap="gray" if "weights" in title else "viridis")
            ax.set_title(title, fontsize=9)
            ax.set_axis_off()

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows: list[tuple[Any, ...]] = []
    for n_bad in _BAD:
        found = np.array([_compared(seed, n_bad) for seed in _SEEDS])
        mean, median, robust, good, bad = found.mean(0)
        worst = float((found[:, 2] / found[:, 1]).max())
        shares = (float(f"{one:.3g}") for one in (mean, median, robust, worst))
        rows.append((n_bad, *shares, round(float(good), 3), round(float(bad), 3)))
    notes = (
        f"Unexplained share of the variance of a measured disparity map (motorcycle, {len(_SEEDS)} seeds). {_VIEWS} "
        "views have their own scale, shift and noise; 40 % of the blocks of bad views show other places of the map. "
        "Unknown pixels are masked. Where half of the views are bad, the start may be wrong in places, and the fusion "
        "may stay there."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(3))


fused_depths = Study(
    name="sparse_representation.fused_depths",
    title="Fusion of depth maps, some of them wrong in places",
    description="Eight views of a measured disparity map with scales, shifts, noise and wrong blocks, fused.",
    run=_run,
)
