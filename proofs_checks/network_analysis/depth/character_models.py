"""Models of characters of eight layers, trained in several ways, and the reports on them; made once per process."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sparsetheory.gpu import analysis, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

__all__ = ["ARMS", "DENSE", "Arm", "judged_and_fitted", "trained_model", "trained_report"]

_WIDTH, _LAYERS, _HEADS, _HIDDEN, _CONTEXT = 32, 8, 4, 64, 32
# Texts that are judged, and others on which affine maps are fitted: six times the tokens that they need.
_JUDGED, _FITTED = 16, 64


@dataclass(frozen=True)
class Arm:
    """A way to train.

    Parameters
    ----------
    title : str
    weight_decay : float
        Of AdamW.
    branch_scale : float
        What the branches are multiplied by.
    density : float
        Share of the weights of the blocks that random masks keep, from the start and for good.
    rescale : bool
        Whether masked weights start larger, by one over the root of the density.
    normalisation : bool
        Whether outputs of normalisations are scaled by one over the root of the depth.
    learning_rate : float
        Of AdamW.
    batch_size : int
        Texts of a step.
    """

    title: str
    weight_decay: float = 0.0
    branch_scale: float = 1.0
    density: float = 1.0
    rescale: bool = False
    normalisation: bool = False
    learning_rate: float = 3e-3
    batch_size: int = 8


DENSE = Arm("dense")
ARMS = (
    DENSE,
    Arm("weight decay 1", weight_decay=1.0),
    Arm("weight decay 5", weight_decay=5.0),
    Arm("LayerNorm scaling", normalisation=True),
    Arm("branches times 0.25", branch_scale=0.25),
    Arm("masks of density 0.25", density=0.25),
    Arm("masks of density 0.25, rescaled", density=0.25, rescale=True),
)


@cache
def _texts() -> tuple[Any, Any, int]:
    """Return the characters to train on and to judge by, and the size of the alphabet."""
    import torch

    found = core.datasets.load_characters()
    return torch.from_numpy(found.calibration), torch.from_numpy(found.held_out), len(found.alphabet)


@cache
def trained_model(arm: Arm, seed: int, n_steps: int) -> Any:
    """Train a model of characters on docstrings; its scalings stay attached.

    Parameters
    ----------
    arm : Arm
    seed : int
        Of weights, masks and batches.
    n_steps : int
        Steps of AdamW on texts of 32 characters.

    Returns
    -------
    CharacterDecoder
    """
    import torch

    calibration, _, n_characters = _texts()
    sizes: dict[str, Any] = {"width": _WIDTH, "n_layers": _LAYERS, "n_heads": _HEADS, "hidden": _HIDDEN}
    with one_thread():
        model = core.models.CharacterDecoder(n_characters, **sizes, context=_CONTEXT, generator=seed)
        parameters, rate = model.parameters(), arm.learning_rate
        optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=arm.weight_decay, fused=True)
        if arm.normalisation:
            analysis.LayerNormScaling(model)
        if arm.branch_scale != 1.0:
            analysis.BranchScaling(model, arm.branch_scale)
        if arm.density < 1.0:
            _mask(model, optimizer, arm, seed)
        texts = calibration.unfold(0, _CONTEXT + 1, 1)
        order = torch.randint(len(texts), (n_steps, arm.batch_size), generator=torch.Generator().manual_seed(seed))
        for rows in order:
            batch = texts[rows]
            optimizer.zero_grad()
            core.class_loss(model(batch[:, :-1]), batch[:, 1:]).backward()
            optimizer.step()
    return model.eval()


def judged_and_fitted() -> tuple[Any, Any]:
    """Return 16 texts of 32 characters to judge by, and 64 others to fit affine maps on."""
    calibration, held_out, _ = _texts()
    return tuple(part[: n * _CONTEXT].view(n, _CONTEXT) for part, n in ((held_out, _JUDGED), (calibration, _FITTED)))


@cache
def trained_report(arm: Arm, seed: int, n_steps: int) -> "analysis.DepthReport":
    """Return the report on :func:`trained_model`."""
    judged, fitted = judged_and_fitted()
    with one_thread():
        return analysis.depth_report(trained_model(arm, seed, n_steps), None, judged, fitted)


def _mask(model: Any, optimizer: Any, arm: Arm, seed: int) -> None:
    """Set weights of the blocks to zero off random masks, now and after each step."""
    import torch

    shapes = {name: weight.shape for name, weight in model.named_parameters() if name in _matrices(model)}
    masks = core.random_masks(shapes, dict.fromkeys(shapes, arm.density), seed)
    if arm.rescale:
        with torch.no_grad():
            for name in shapes:
                model.get_parameter(name).mul_(arm.density**-0.5)
    masks.apply(model)
    optimizer.register_step_post_hook(lambda *_: masks.apply(model))


def _matrices(model: Any) -> set[str]:
    return {f"{layer}.weight" for layer in core.block_layers(model)}
