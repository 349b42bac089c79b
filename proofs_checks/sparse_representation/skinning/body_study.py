"""A real body: which poses tell its skinning weights, and whether a learned prior helps where they do not."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread, tensor

_CAPTURE = Path("/usr/share/assimp/models/BVH/01_01.bvh")
_VERTICES, _NOISE, _SUPPORT = 400, 0.002, 0.05
_STEPS, _POINTS = 1000, 4000
_RIGS = ("default", "game_engine", "mixamo")


@cache
def _body() -> Any:
    return core.datasets.load_body("cmu_mb")


def _rows(n: int) -> Any:
    rng = np.random.default_rng(0)
    return tensor(rng.choice(len(_body().vertices), n, replace=False))


def _random_turns(n_poses: int) -> Any:
    return representation.random_rotations(n_poses, len(_body().bones), generator=1)


def _recorded_turns(n_poses: int) -> Any:
    motion = core.datasets.load_motion(_CAPTURE)
    frames = np.linspace(0, len(motion.rotations) - 1, n_poses).astype(int).tolist()
    return representation.motion_rotations(_body(), motion, frames)


def _fit(turns: Any, noise_std: float, rows: Any, method: str = "swap") -> tuple[Any, Any]:
    """Return fitted and true weights of some vertices of the body."""
    import torch

    body = _body()
    maps = representation.bone_transforms(tensor(body.heads), body.parents.tolist(), turns)
    rest, weights = tensor(body.vertices)[rows], tensor(body.weights)[rows]
    poses = representation.linear_blend_skinning(rest, weights, maps)
    noise = torch.randn(poses.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fit = representation.skinning_from_poses(poses + noise_std * noise, maps, rest, method=method)
    return fit, weights


def _poses(profile: str) -> StudyResult:
    columns = ("poses", "number", "noise in mm", "method", "L1 per vertex", "IoU", "rms residual in mm")
    if profile == "quick":
        return StudyResult.left_out(columns)
    cases = [("random", n, noise) for n in (1, 2, 3, 5, 8) for noise in (0.0, _NOISE)]
    if _CAPTURE.is_file():
        cases += [("motion capture", n, 0.0) for n in (3, 10, 40)]
    rows: list[tuple[Any, ...]] = []
    with one_thread():
        for kind, n_poses, noise_std in cases:
            turns = (_random_turns if kind == "random" else _recorded_turns)(n_poses)
            for method in ("drop", "swap"):
                fit, weights = _fit(turns, noise_std, _rows(_VERTICES), method)
                score = representation.skinning_score(fit.weights, weights)
                numbers = round(score.l1_per_vertex, 4), round(score.iou, 3), round(1000 * fit.certificate.residual, 3)
                rows.append((kind, n_poses, 1000 * noise_std, method, *numbers))
    notes = (
        "400 vertices of the MakeHuman body with 31 bones; a vertex has up to seven, fits have at most four. Random "
        "poses turn every joint. Recorded motion explains all it sees with other weights: bones that never turn "
        "against their parents, such as fingers, cannot be told apart, however many frames there are."
        + ("" if _CAPTURE.is_file() else f" Left out, as there is no {_CAPTURE} (apt install assimp-testmodels).")
    )
    return StudyResult(columns, rows, notes, _draw)


def _draw(figure: Any) -> None:
    body = _body()
    ends = {"heads": body.heads, "tails": body.tails}
    representation.draw_rig(body.vertices, body.weights, figure.subplots(), marker_size=1.0, **ends)


def _placed() -> Any:
    """Return the vertices of the body, centred and of size one, in single precision."""
    vertices = tensor(_body().vertices)
    centred = vertices - vertices.mean(0)
    return (centred / centred.square().sum(1).mean().sqrt()).float()


def _prior(profile: str) -> StudyResult:
    columns = ("weights", "L1 per vertex", "IoU", "L1 per vertex, decoded", "IoU, decoded")
    if profile == "quick":
        return StudyResult.left_out(columns)
    rows = _rows(_POINTS)
    found: list[tuple[Any, ...]] = []
    with one_thread():
        points = _placed()
        tables = [(points, tensor(core.datasets.load_body(rig).weights).float()) for rig in _RIGS]
        model = representation.SkinningVAE(width=128, n_frequencies=6)
        representation.train_skinning_vae(model, tables, n_steps=_STEPS)
        true = tensor(_body().weights)[rows].float()
        cases = {"true": true, "rigid": representation.rigid_weights(true)}
        cases |= {f"fit to {n} random poses": _fit(_random_turns(n), _NOISE, rows)[0].weights.float() for n in (2, 5)}
        if _CAPTURE.is_file():
            cases["fit to 10 recorded poses"] = _fit(_recorded_turns(10), 0.0, rows)[0].weights.float()
        for name, weights in cases.items():
            decoded = model.decode(model.tokens(points[rows], weights), points[rows])
            scores = [representation.skinning_score(part, true, threshold=_SUPPORT) for part in (weights, decoded)]
            found.append((name, *(round(v, 3) for one in scores for v in (one.l1_per_vertex, one.iou))))
    notes = (
        "An autoencoder is trained on the bones of three other skeletons of the same body. Weights of the fourth are "
        "coded by it and decoded, 40 bits per bone. As a prior it does harm here: it decodes the true weights "
        "worse than rigid parts have them, and every fit worse than it was given."
    )
    return StudyResult(columns, found, notes)


skinning_body_poses = Study(
    name="sparse_representation.skinning_body_poses",
    title="Skinning weights of a real body from its poses",
    description="The MakeHuman body, with a skeleton of 31 bones, in random poses and in those of motion capture.",
    run=_poses,
)

skinning_body_prior = Study(
    name="sparse_representation.skinning_body_prior",
    title="A learned prior on the bones of a real body",
    description="Weights of the MakeHuman body that were fitted to poses, before and after an autoencoder with tokens.",
    run=_prior,
)
