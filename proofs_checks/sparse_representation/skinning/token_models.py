"""Autoencoders of skinning weights, trained on synthetic rigs; made once per process."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

__all__ = ["FULL_STEPS", "QUICK_STEPS", "Outcome", "outcome", "rigs", "trained"]

QUICK_STEPS, FULL_STEPS = 150, 300
_TRAIN, _TEST = 64, 16
_SUPPORT, _POSES = 0.05, 4


@cache
def rigs(seed: int) -> tuple[list["representation.TubeRig"], list["representation.TubeRig"]]:
    """Return rigs to train on, and others to test with."""
    made = representation.make_tube_rigs(_TRAIN + _TEST, generator=seed)
    return made[:_TRAIN], made[_TRAIN:]


@cache
def trained(seed: int, n_steps: int) -> Any:
    """Train an autoencoder; for few steps a narrower one, on fewer points."""
    small = n_steps < FULL_STEPS
    sizes = {"batch_size": 16, "n_points": 64, "learning_rate": 6e-3} if small else {}
    with one_thread():
        model = representation.SkinningVAE(width=64 if small else 96, generator=seed + 1)
        tables = [(rig.vertices, rig.weights) for rig in rigs(seed)[0]]
        representation.train_skinning_vae(model, tables, n_steps=n_steps, generator=seed + 2, **sizes)  # type: ignore[arg-type]
    return model


@dataclass(frozen=True)
class Outcome:
    """Means over test rigs.

    Parameters
    ----------
    l1_per_active, iou : float
        Of the decoded weights, see :class:`sparsetheory.gpu.representation.SkinningScore`.
    blend_error, rigid_error : float
        Mean distance of the blended vertices from the true ones, with decoded weights and with the largest alone.
    n_used : int
        Values of tokens that occur.
    perplexity : float
        Of the tokens.
    """

    l1_per_active: float
    iou: float
    blend_error: float
    rigid_error: float
    n_used: int
    perplexity: float


@cache
def outcome(seed: int, n_steps: int) -> Outcome:
    """Return how well the tokens of :func:`trained` describe the weights of fresh rigs."""
    import torch

    model, found, tokens = trained(seed, n_steps), [], []
    with one_thread():
        for place, rig in enumerate(rigs(seed)[1]):
            tokens.append(model.tokens(rig.vertices, rig.weights))
            weights = model.decode(tokens[-1], rig.vertices)
            score = representation.skinning_score(weights, rig.weights, threshold=_SUPPORT)
            maps = representation.random_bone_motions(rig.heads, _POSES, shift_std=0.1, generator=place)
            errors = [
                representation.blend_error(rig.vertices, table, rig.weights, maps)
                for table in (weights, representation.rigid_weights(rig.weights))
            ]
            found.append((score.l1_per_active, score.iou, *errors))
    means = np.mean(found, axis=0)
    used = torch.cat(tokens).flatten()
    perplexity = representation.code_perplexity(used, model.fsq.n_codes)
    l1, iou, blended, rigid = map(float, means)
    return Outcome(l1, iou, blended, rigid, int(used.unique().numel()), perplexity)
