"""Activations of a network on real films, on a grid in time: what changes from frame to frame."""

from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import activations, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

_STEP, _FRAMES = 0.05, 8
_CLIPS = ("carphone", "bikes")
_COLUMNS = ("frames", "layer", "not zero", "not zero on the grid", "changed")
_NOTES = (
    "Shares of activations behind the 35 ReLU6 of MobileNetV2, with a step of 5 % of the largest activation of the "
    "layer. A layer behind them has to work where they are not zero, or from changes where they changed. In films "
    "changes are two to three times rarer than that; between photographs that do not belong together they are not."
)


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    films = {name: list(core.datasets.load_clip(name, _FRAMES).frames) for name in _CLIPS}
    films["photographs"] = list(core.datasets.load_photographs().images[:_FRAMES])
    model = core.models.load_mobilenet_v2()
    with one_thread():
        found = {name: _shares(model, core.models.imagenet_inputs(frames)) for name, frames in films.items()}
    rows = []
    for name, shares in found.items():
        places = {"first": shares[:1], "middle": shares[17:18], "last": shares[-1:], "all": shares}
        rows += [(name, place, *np.mean(part, axis=0).round(3).tolist()) for place, part in places.items()]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(found))


def _shares(model: Any, frames: Any) -> list[tuple[float, ...]]:
    """Return for each rectifier the shares that are not zero, not zero on the grid, and changed."""
    import torch
    from torch import nn

    shares: list[tuple[float, ...]] = []

    def observe(module: Any, inputs: Any, x: Any) -> None:
        layer = activations.DeltaActivation(threshold=_STEP * float(x.max()))
        found = layer(x.unsqueeze(0))
        share = [float((part != 0).double().mean()) for part in (x, found.y)]
        shares.append((*share, found.n_events / found.n_changes))

    handles = [module.register_forward_hook(observe) for module in model.modules() if isinstance(module, nn.ReLU6)]
    try:
        with torch.no_grad():
            model(frames)
    finally:
        for handle in handles:
            handle.remove()
    return shares


def _plot(found: dict[str, list[tuple[float, ...]]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for name, shares in found.items():
            (line,) = ax.plot([share[2] for share in shares], label=f"{name}, changed")
            ax.plot([share[1] for share in shares], ":", color=line.get_color(), label=f"{name}, not zero")
        ax.set(xlabel="rectifier, from input to output", ylabel="share of activations on the grid", title="MobileNetV2")
        ax.legend(fontsize=8)

    return draw


changes_in_films = Study(
    name="activation_sparsity.changes_in_films",
    title="Activations that change between frames of films",
    description="Activations of MobileNetV2 on 8 frames of two real films, on a grid of 5 % of the maximum of each "
    "layer: how many change from frame to frame, against photographs that do not belong together.",
    run=_run,
)
