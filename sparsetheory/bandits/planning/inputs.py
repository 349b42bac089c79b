"""Features and candidates of a decision problem, as arrays that fit it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsetheory.bandits.planning.mdp import TabularMDP
from sparsetheory.typing import Float64Array

__all__ = ["checked_candidates", "checked_features", "model_error"]


def _checked(name: str, values: Any, dimensions: int) -> Float64Array:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.ndim != dimensions or not array.size:
        raise ValueError(
            f"{name} must be real numbers in {dimensions} dimensions; got {array.dtype} of shape {array.shape}"
        )
    array = array.astype(np.float64, copy=False)
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        raise ValueError(f"{name} must be finite; got NaN or infinity in row {int(np.argmin(finite))}")
    return array


def checked_features(features: Sequence[Any], mdp: TabularMDP) -> tuple[Float64Array, ...]:
    """Return features of each level, of shape (n_states, n_actions, n_features).

    Raises
    ------
    ValueError
        If there are not as many as levels, shapes do not fit, or a number is not finite.
    """
    if len(features) != mdp.n_levels:
        raise ValueError(f"features must be given for {mdp.n_levels} levels; got {len(features)}")
    found = tuple(_checked(f"features[{h}]", level, 3) for h, level in enumerate(features))
    for h, level in enumerate(found):
        if level.shape[:2] != mdp.rewards[h].shape:
            expected = (*mdp.rewards[h].shape, level.shape[2])
            raise ValueError(f"features[{h}] must be of shape {expected}; got shape {level.shape}")
    return found


def checked_candidates(candidates: Sequence[Any], features: Sequence[Float64Array]) -> tuple[Float64Array, ...]:
    """Return candidates of each level, of shape (n_candidates, n_features).

    Raises
    ------
    ValueError
        If there are not as many as levels, shapes do not fit, or a number is not finite.
    """
    if len(candidates) != len(features):
        raise ValueError(f"candidates must be given for {len(features)} levels; got {len(candidates)}")
    found = tuple(_checked(f"candidates[{h}]", level, 2) for h, level in enumerate(candidates))
    for h, (level, of_level) in enumerate(zip(found, features, strict=True)):
        if level.shape[1] != of_level.shape[2]:
            raise ValueError(f"candidates[{h}] must have {of_level.shape[2]} columns; got {level.shape[1]}")
    return found


def model_error(eps: float, rho: float, features: Sequence[Float64Array]) -> float:
    """Return how far the best candidate may be from the values: eps, and rho times the length of a row."""
    longest = max(float(np.linalg.norm(level, axis=2).max()) for level in features) if rho else 0.0
    return eps + longest * rho
