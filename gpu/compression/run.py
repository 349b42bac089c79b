"""The verb."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sparsetheory.constraints import FLAG
from sparsetheory.gpu.compression.change import output_change
from sparsetheory.gpu.compression.checkpoint import Checkpoint, fingerprint
from sparsetheory.gpu.compression.plan import PlanStep, as_plan, resolve
from sparsetheory.gpu.compression.report import CompressionReport, FinishedLayer, LayerReport
from sparsetheory.gpu.compression.sizes import model_size
from sparsetheory.gpu.core.layers import find_layers, weight_rows, write_rows
from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.core.recording import attention_mask, check_batches
from sparsetheory.gpu.weights.layerwise.model_pruning import LayerInputs, grams_in_order
from sparsetheory.gpu.weights.layerwise.one_layer import layerwise_prune, relative_error
from sparsetheory.progress import tracked

__all__ = ["compress"]

Mask = Callable[[Any], Tensor | None]


def compress(
    model: nn.Module,
    calibration: Iterable[Any],
    plan: Any,
    *,
    held_out: Iterable[Any] | None = None,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    mask: Mask | None = None,
    sequential: bool = True,
    in_place: bool = False,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> CompressionReport:
    """Compress a model layer by layer, and say how good every layer is.

    Parameters
    ----------
    model : torch.nn.Module
    calibration : iterable
        Batches that the model takes: tensors, tuples of positional arguments, or mappings of keyword arguments. Labels,
        which a data loader gives, too, do not belong to them: ``[x for x, _ in loader]``.
    plan : str, Pattern, PlanStep, or sequence of PlanStep or tuple
        Which layers get which pattern by which method, see :class:`PlanStep`. ``"2:4"`` gives the linear layers of all
        blocks two nonzeros in every four inputs.
    held_out : iterable, optional
        Fresh data, on which errors are reported, too.
    evaluate : callable, optional
        From a model to named numbers; called before and after.
    mask : callable, optional
        From a batch to the tensor that is not zero where a token counts; the attention mask by default.
    sequential : bool
        Whether the inputs of a layer are those of the model with all layers before it compressed.
    in_place : bool
        Whether `model` itself is changed. If not, the report holds a copy, and the change of the outputs is measured.
        A run in place that ends early leaves the layers before that compressed.
    checkpoint : str or Path, optional
        Folder that keeps finished layers, so that a run that was stopped can go on.
    resume : bool
        Whether to use the finished layers in that folder; the result is the same as without a stop.
    n_jobs : int, optional
        Threads, over rows; -1 takes every core.
    verbose : bool
        Whether a progress bar is shown.

    Returns
    -------
    CompressionReport

    Raises
    ------
    TypeError
        If `calibration` or `held_out` is a single batch.
    ValueError
        If a layer is unknown (near names are listed), a pattern does not fit (layer and axis are named), the weight of
        a layer is shared or computed, or the folder belongs to another run.

    Warns
    -----
    FewRowsWarning
        If a layer sees fewer than two calibration rows for each input.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu import compress
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    >>> X = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    >>> report = compress(model, [X], [("0", "2:4")])
    >>> [(layer.name, layer.density) for layer in report.layers]
    [('0', 0.5)]
    """
    for name, flag in (("sequential", sequential), ("in_place", in_place), ("resume", resume), ("verbose", verbose)):
        FLAG.check(name, flag)
    check_batches("calibration", calibration)
    check_batches("held_out", held_out)
    batches, fresh = list(calibration), None if held_out is None else list(held_out)
    steps = resolve(as_plan(plan), model)
    before = dict(evaluate(model)) if evaluate else {}
    target = model if in_place else copy.deepcopy(model)
    run = _Run(target, batches, fresh, steps, mask, sequential, n_jobs)
    with Checkpoint(checkpoint, "" if checkpoint is None else run.task(), resume=resume).opened() as kept:
        results = dict(tracked(run.layers(kept), "compressing", verbose, len(steps)))
    quality = {f"dense {name}": value for name, value in before.items()}
    quality |= {name: float(value) for name, value in (evaluate(target) if evaluate else {}).items()}
    if not in_place:
        change = output_change(model, target, fresh or batches, mask)
        quality |= {"output error": change.relative_error, "output cosine": change.mean_cosine}
    return CompressionReport(
        model=target,
        layers=tuple(results[name].report for name in steps),
        certificates={name: results[name].certificate for name in steps},
        size=model_size(target, batches[0], {name: results[name].certificate.mask for name in steps}),
        quality=quality,
    )


@dataclass(eq=False)
class _Run:
    """The layers of one compression, in the order in which they run."""

    model: nn.Module
    batches: list[Any]
    held_out: list[Any] | None
    steps: Mapping[str, PlanStep]
    mask: Mask | None
    sequential: bool
    n_jobs: int | None
    modules: dict[str, nn.Module] = field(init=False)

    def __post_init__(self) -> None:
        self.modules = find_layers(self.model, list(self.steps))

    def task(self) -> str:
        """Return what tells this run from others."""
        data: dict[str, Any] = {"calibration": self.batches, "held_out": self.held_out}
        # What a function does to the data tells more than its name.
        mask = self.mask or attention_mask
        data["masks"] = [[mask(batch) for batch in part] for part in (self.batches, self.held_out or ())]
        return fingerprint(self.model, data, self.steps, sequential=self.sequential)

    def layers(self, checkpoint: Checkpoint) -> Iterator[tuple[str, FinishedLayer]]:
        """Yield the finished layers of an earlier run, then one new layer after the other."""
        finished = self._finished(checkpoint)
        if self.sequential:
            self._write(finished)
        yield from finished.items()
        for inputs in grams_in_order(
            self.model,
            self.batches,
            list(self.steps),
            self.mask,
            held_out=self.held_out,
            sequential=self.sequential,
            done=finished,
        ):
            layer = self._compressed(inputs)
            checkpoint.save(layer)
            yield inputs.name, self._sharing(inputs.name, layer)
        # All inputs are those of the dense model where layers do not follow each other.
        if not self.sequential:
            self._write(finished)

    def _finished(self, checkpoint: Checkpoint) -> dict[str, FinishedLayer]:
        found: dict[str, FinishedLayer] = {}
        for name, step in self.steps.items():
            assert isinstance(step.pattern, Pattern)
            saved = checkpoint.load(name, step.pattern)
            if saved:
                found[name] = saved
        return found

    def _write(self, layers: Mapping[str, FinishedLayer]) -> None:
        for name, layer in layers.items():
            write_rows(self.modules[name], layer.certificate.weight)

    def _compressed(self, inputs: LayerInputs) -> FinishedLayer:
        step, layer, fresh = self.steps[inputs.name], self.modules[inputs.name], inputs.held_out
        assert isinstance(step.pattern, Pattern)
        dense, began = weight_rows(layer).clone(), time.perf_counter()
        options = {"n_jobs": self.n_jobs} | dict(step.options)
        result = layerwise_prune(dense, inputs.calibration, step.pattern, step.method, **options)
        write_rows(layer, result.weight)
        report = LayerReport(
            name=inputs.name,
            pattern=str(step.pattern),
            method=step.method,
            shape=(dense.shape[0], dense.shape[1]),
            n_nonzero=int((result.weight != 0).sum()),
            relative_error=result.relative_error,
            held_out_error=None if fresh is None else relative_error(dense, result.weight, fresh),
            n_samples=inputs.calibration.n_samples,
            delta=result.delta,
            n_swaps=float(result.n_swaps.double().mean()),
            seconds=time.perf_counter() - began,
        )
        return FinishedLayer(report, result.certificate)

    def _sharing(self, name: str, layer: FinishedLayer) -> FinishedLayer:
        """Let a certificate refer to the weight of the model itself, so that none is held twice."""
        return replace(layer, certificate=replace(layer.certificate, weight=weight_rows(self.modules[name])))
