"""Claims about starts of K-subspaces: codes over the other points find the subspaces, random starts mostly do not."""

from typing import Any

import numpy as np

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_representation.molrg.instances import Mixture
from sparsetheory.proofs_checks.verdicts import Attains, WithProbability

_WIDTH, _FEATURES, _RANDOM_STARTS = 4, 48, 10
_FOUND = 1e-6


def _draw(rng: np.random.Generator, per_subspace: float) -> Mixture:
    """Draw two or three subspaces."""
    count = int(rng.integers(2, 4))
    return Mixture(_FEATURES, (_WIDTH,) * count, int(per_subspace), orthogonal=True, seed=int(rng.integers(2**20)))


def _draw_three(rng: np.random.Generator, per_subspace: float) -> Mixture:
    return Mixture(_FEATURES, (_WIDTH,) * 3, int(per_subspace), orthogonal=True, seed=int(rng.integers(2**20)))


def _error(mixture: Mixture, init: Any, n_init: int = 1) -> float:
    with one_thread():
        sample = mixture.sample()
        fit = representation.k_subspaces(
            sample.X, len(mixture.widths), _WIDTH, init=init, n_init=n_init, generator=mixture.seed
        )
        return float(representation.matched_errors(fit.bases, sample.bases).max())


def _from(init: str) -> Any:
    return lambda mixture: Measurement(_error(mixture, init), _FOUND)


def _from_random(mixture: Mixture) -> Measurement:
    return Measurement(_error(mixture, "random", _RANDOM_STARTS), _FOUND)


def _beside_random(mixture: Mixture) -> Measurement:
    shown = {"best of ten random starts": _error(mixture, "random", _RANDOM_STARTS)}
    return Measurement(_error(mixture, "ssc_omp"), _FOUND, extras=shown)


_SETTING = f"subspaces of dimension {_WIDTH} in {_FEATURES}, no noise"

recovery_from_codes = Claim(
    name="sparse_representation.recovery_from_codes",
    summary="From sparse codes over the other points, K-subspaces finds all subspaces, even with N = d on each.",
    statement=r"K \in \{2, 3\}: \quad P\left( \max_k \|U_k U_k^T - U_k^* U_k^{*T}\|_F \le 10^{-6} \right) \ge 0.9",
    source=Source.measured(f"{_SETTING}; random starts are the near miss"),
    verdict=WithProbability(0.9, margin=0.1),
    evaluate=_beside_random,
    near_miss=_from_random,
    sweep=Sweep(
        axis="points on each subspace of dimension 4",
        values=(4, 6, 8, 12),
        draw=_draw,
        trials=100,
        quick_trials=24,
        quick_values=(4, 8),
        log="y",
        measured_label="start from codes",
        bound_label="found",
        y_label="largest distance of subspaces",
    ),
)

recovery_from_bases = Claim(
    name="sparse_representation.recovery_from_bases",
    summary="K-subspaces also finds them from groups of points whose neighbourhoods share a basis.",
    statement=r"K \in \{2, 3\}: \quad P\left( \max_k \|U_k U_k^T - U_k^* U_k^{*T}\|_F \le 10^{-6} \right) \ge 0.9",
    source=Source.measured(f"{_SETTING}; random starts are the near miss"),
    verdict=WithProbability(0.9, margin=0.1),
    evaluate=_from("svd"),
    near_miss=_from_random,
    sweep=Sweep(
        axis="points on each subspace of dimension 4",
        values=(4, 6, 8, 12),
        draw=_draw,
        trials=100,
        quick_trials=24,
        quick_values=(4, 8),
        log="y",
        measured_label="start from shared bases",
        bound_label="found",
        y_label="largest distance of subspaces",
    ),
)

random_starts_fail = Claim(
    name="sparse_representation.random_starts_fail",
    summary="The best of ten random starts misses three subspaces more often than not, with twice the points needed.",
    statement=r"K = 3: \quad P\left( \max_k \|U_k U_k^T - U_k^* U_k^{*T}\|_F > 10^{-6} \right) \ge 0.5",
    source=Source.measured(f"{_SETTING}; the start from codes is the near miss"),
    verdict=Attains(0.5, margin=0.1),
    evaluate=_from_random,
    near_miss=_from("ssc_omp"),
    sweep=Sweep(
        axis="points on each subspace of dimension 4",
        values=(6, 8),
        draw=_draw_three,
        trials=200,
        quick_trials=40,
        log="y",
        measured_label="best of ten random starts",
        bound_label="found",
        y_label="largest distance of subspaces",
    ),
)
