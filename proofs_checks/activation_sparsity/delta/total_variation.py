"""Claim about jumps in time: a total-variation fit with as many of them is closer than values on a fixed grid."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.gpu import activations, core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.regression import lasso_path
from sparsetheory.typing import BoolArray, Float64Array

_FRAMES, _TRACES, _FACTOR = 100, 4, 0.85


@dataclass(frozen=True, eq=False)
class Trace:
    """Brightness of a pixel over time, and its quantised copy."""

    x: Float64Array
    quantised: Float64Array

    @property
    def jumps(self) -> BoolArray:
        """Frames after the first in which the quantised copy changes."""
        return np.asarray(np.diff(self.quantised) != 0)

    @cached_property
    def by_total_variation(self) -> Float64Array:
        """Coefficients of a fit whose total variation is penalised, with at most as many jumps.

        With one column that is 1 from each frame on, jumps are coefficients: the fused lasso is a lasso on them.
        """
        steps = np.tril(np.ones((_FRAMES, _FRAMES)))[:, 1:]
        path = lasso_path(steps, self.x, fit_intercept=True, n_alphas=30)
        return np.asarray(path.coefs[:, np.flatnonzero((path.coefs != 0).sum(0) <= self.jumps.sum())[-1]])

    def error(self, fitted: Float64Array) -> float:
        """Return the error of a piecewise constant fit over that of the quantised copy."""
        return float(np.linalg.norm(fitted - self.x) / np.linalg.norm(self.quantised - self.x))

    @property
    def error_refitted(self) -> float:
        """Error with the mean brightness between the jumps of the fit."""
        return self.error(self._means(self.by_total_variation != 0))

    @property
    def grid_refitted(self) -> float:
        """Error with the mean brightness between the jumps of the quantised copy."""
        return self.error(self._means(self.jumps))

    def _means(self, jumps: BoolArray) -> Float64Array:
        pieces = np.split(self.x, np.flatnonzero(jumps) + 1)
        return np.concatenate([np.full(piece.size, piece.mean()) for piece in pieces])


def _draw(rng: np.random.Generator, q: float) -> list[Trace]:
    photographs = core.datasets.load_photographs()
    grey = photographs.images[photographs.names.index("china")].mean(axis=2) / 255
    traces = []
    for _ in range(_TRACES):
        row, column = rng.integers(grey.shape[0]), rng.integers(grey.shape[1] - _FRAMES)
        x = np.asarray(grey[row, column : column + _FRAMES])
        traces.append(Trace(x, array(activations.quantize(tensor(x), q))))
    return traces


def _mean(errors: list[float]) -> float:
    return float(np.exp(np.mean(np.log(errors))))


def _better(traces: list[Trace]) -> Measurement:
    """Compare the errors of both, as geometric means over some traces; the fit sees all of time, the quantiser not."""
    grid = _mean([trace.grid_refitted for trace in traces])
    return Measurement(_mean([trace.error_refitted for trace in traces]), _FACTOR, extras={"grid, refitted": grid})


def _better_places(traces: list[Trace]) -> Measurement:
    """Expect as much where both take the means between their jumps."""
    ratios = [trace.error_refitted / trace.grid_refitted for trace in traces]
    return Measurement(_mean(ratios), _FACTOR)


delta_total_variation = Claim(
    name="activation_sparsity.delta_total_variation",
    summary="With as many jumps in time, a refitted total-variation fit is closer to a trace than values on a grid.",
    statement=r"\text{error}_{\text{TV, refitted}} \le 0.85\, \text{error}_Q \quad \text{for the same number of jumps}",
    source=Source.measured(
        "brightness of a pixel while a camera pans over the photograph china, 100 frames, geometric means of 4 traces; "
        "the gain lies in the levels: with means between its own jumps, the grid is no worse"
    ),
    verdict=WithProbability(0.7),
    evaluate=_better,
    near_miss=_better_places,
    sweep=Sweep(
        axis="step of the grid",
        values=(0.05, 0.1, 0.2),
        draw=_draw,
        trials=40,
        quick_trials=16,
        quick_values=(0.1,),
        measured_label="total variation, refitted",
        bound_label="0.85",
        y_label="error over that of the grid",
    ),
)
