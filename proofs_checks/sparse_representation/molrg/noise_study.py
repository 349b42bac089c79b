"""How the error of a subspace falls with the number of noisy points, beside the rate of the theorem."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_representation.molrg.instances import Mixture

_FEATURES, _WIDTH, _NOISE = 48, 8, 0.05
_COUNTS = (4, 6, 7, 8, 9, 10, 12, 16, 24, 48, 96)
_COLUMNS = ("points N", "median error", "rate", "error / rate")
_NOTES = (
    "Synthetic: one subspace of dimension 8 in 48, noise 0.05. Rate: the norm of all noise over the root of N less "
    "that of d - 1, the bound of the theorem for N >= d but for its constant. The error stays within 0.2 to 0.5 of it; "
    "for N near d the rate blows up, and the error cannot, as it is at most 4. Without noise the error is 0 from N = 8 "
    "on; with noise the transition is smooth. With fewer points the missing directions are those of a random start."
)


def _row(count: int, n_trials: int) -> tuple[Any, ...]:
    errors, rates = [], []
    for seed in range(n_trials):
        mixture = Mixture(_FEATURES, (_WIDTH,), count, _NOISE, seed=seed)
        with one_thread():
            sample, clean = mixture.sample(), Mixture(_FEATURES, (_WIDTH,), count, seed=seed).sample()
            fit = representation.k_subspaces(sample.X, 1, _WIDTH, generator=seed)
            errors.append(float(representation.subspace_error(fit.bases[0], sample.bases[0])))
            rates.append(float((sample.X - clean.X).norm()))
    error = float(np.median(errors))
    if count < _WIDTH:
        return count, round(error, 2), "", ""
    rate = float(np.median(rates)) / (count**0.5 - (_WIDTH - 1) ** 0.5)
    return count, round(error, 2), round(rate, 2), round(error / rate, 2)


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        ax.plot([row[0] for row in rows], [row[1] for row in rows], "o-", label="K-subspaces, K = 1")
        known = [row for row in rows if row[2] != ""]
        ax.plot([row[0] for row in known], [row[2] for row in known], "--", label="rate of the theorem, constant 1")
        ax.axvline(_WIDTH, color="grey", ls=":", label="N = d")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("points N")
        ax.set_ylabel("distance of subspaces")
        ax.set_title("A subspace of dimension 8 in 48, noise 0.05 (synthetic)")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    rows = [_row(count, 10 if profile == "quick" else 100) for count in _COUNTS]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


subspace_noise = Study(
    name="sparse_representation.subspace_noise",
    title="A subspace from noisy points",
    description="Error of the principal subspace against the number of points, with the rate of the theorem on "
    "mixtures of low-rank Gaussians beside it.",
    run=_run,
)
