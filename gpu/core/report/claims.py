"""What a claim about a sparse model must be compared with, and a check that it was."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsetheory.gpu.core.effective_weights import effective_weights
from sparsetheory.gpu.core.report.results import SparsityReport
from sparsetheory.gpu.core.report.training import TrainingFlops

__all__ = ["Baseline", "check_claim", "fair_baselines"]

_PEERS = {
    "dense": "the dense model of the same shape",
    "dense_equal_parameters": "a dense model with as many parameters as the sparse one has non-zeros",
    "dense_equal_flops": "a dense model that takes as many operations for one sample",
    "dense_equal_training": "the dense model, trained with as many operations: fewer steps",
    "random_uniform": "random fixed masks, the same density everywhere",
    "random_erk": "random fixed masks, densities by ERK",
    "magnitude": "the dense model pruned once by magnitude, then tuned for as many steps",
    "random_search": "the best of as many random settings as the method tried",
}
_METHOD = "method"
_SEEDS = 3
_DENSITIES = ("masked", "all")


@dataclass(frozen=True)
class Baseline:
    """One thing to compare with.

    Parameters
    ----------
    name : str
        Under which :func:`check_claim` looks for its results.
    words : str
        What it is.
    settings : dict of str to object
        Numbers that fix it: parameters, operations for one sample, shares of steps or widths, densities.
    """

    name: str
    words: str
    settings: dict[str, Any]


def fair_baselines(
    model: nn.Module, report: SparsityReport, training: TrainingFlops | None = None
) -> tuple[Baseline, ...]:
    """List what a claim about a sparse model must be compared with, with the numbers that fix each of them.

    Parameters
    ----------
    model : torch.nn.Module
        The sparse model.
    report : SparsityReport
        Its report, made with a batch.
    training : TrainingFlops, optional
        What the run cost, with operations for one sample; by default what fixed masks cost.

    Returns
    -------
    tuple of Baseline
        The share of the width keeps the shape of the model: parameters and operations grow with its square.

    Raises
    ------
    ValueError
        If the report was made without a batch, or of another model.
    """
    flops = report.flops
    if flops is None:
        raise ValueError("report must count operations; got one made without a batch")
    shapes = {name: tuple(value.shape) for name, value in effective_weights(model).tensors.items()}
    if any(shapes.get(layer.name) != layer.shape for layer in report.layers):
        raise ValueError("report must be of the same model; got names or shapes that the model does not have")
    dense, sparse = flops.flops / flops.n_samples, flops.sparse_flops / flops.n_samples
    per_step = 3 * sparse if training is None else training.per_step
    settings: dict[str, dict[str, Any]] = {
        "dense": {"n_parameters": report.n_parameters, "flops": dense},
        "dense_equal_parameters": {"n_parameters": report.n_nonzero, "width": math.sqrt(report.overall_density)},
        "dense_equal_flops": {"flops": sparse, "width": math.sqrt(_share(sparse, dense))},
        "dense_equal_training": {"steps": _share(per_step, 3 * dense)},
        "random_uniform": {"densities": {layer.name: layer.uniform_density for layer in report.layers}},
        "random_erk": {"densities": {layer.name: layer.erk_density for layer in report.layers}},
        "magnitude": {"density": report.density},
        "random_search": {"density": report.density},
    }
    return tuple(Baseline(name, meaning, settings[name]) for name, meaning in _PEERS.items())


def check_claim(results: Mapping[str, Any]) -> None:
    """Check that the results behind a claim are complete.

    Parameters
    ----------
    results : mapping of str to object
        The scores of the method under ``"method"`` and of each baseline of :func:`fair_baselines` under its name, one
        score for each seed; and under ``"density_of"`` whether densities count ``"masked"`` tensors or ``"all"``
        parameters.

    Raises
    ------
    ValueError
        With all that is missing: a baseline, three seeds, finite scores, or what densities count.

    Examples
    --------
    >>> check_claim({"method": [0.9, 0.9, 0.9], "density_of": "masked"})
    Traceback (most recent call last):
    ValueError: results must be complete; missing: scores of dense (the dense model of the same shape); ...
    """
    missing = []
    for name, meaning in {_METHOD: "the method itself", **_PEERS}.items():
        if name not in results:
            missing.append(f"scores of {name} ({meaning})")
        elif fault := _fault(results[name]):
            missing.append(f"{fault} of {name}")
    if results.get("density_of") not in _DENSITIES:
        missing.append("density_of, 'masked' or 'all'")
    if missing:
        raise ValueError(f"results must be complete; missing: {'; '.join(missing)}")


def _fault(scores: Any) -> str:
    if not isinstance(scores, Sequence) or isinstance(scores, str):
        return "a list of scores"
    if len(scores) < _SEEDS:
        return f"{_SEEDS} seeds (got {len(scores)})"
    return "" if all(math.isfinite(score) for score in scores) else "finite scores"


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0
