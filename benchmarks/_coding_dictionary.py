"""Dictionary learning on whitened natural patches beside SPAMS and scikit-learn, in single precision."""

import importlib
import sys
import warnings
from typing import Any

import numpy as np
from _timing import Row, best_result

from sparsetheory.coding import LqDictionaryLearning, encode, natural_patches
from sparsetheory.penalties import L1

_ALPHA = 0.35
_BATCH, _BATCHES = 256, 150
_HELD_OUT = 3000
# scikit-learn is so much slower that it gets fewer batches; ours are then as few.
_FEW = 20
# Numbers of batches tried for the objective that the peer reaches with all of them.
_FEWER = (30, 40, 50, 60, 80, 100, 120)


class _Problem:
    """Patches to learn from, patches held out, and first atoms."""

    def __init__(self, n_atoms: int) -> None:
        rng = np.random.default_rng(n_atoms)
        patches = natural_patches(_BATCH * _BATCHES + _HELD_OUT, 12, "bundled", random_state=rng).astype(np.float32)
        self.train, self.held_out = patches[:-_HELD_OUT], patches[-_HELD_OUT:]
        first = self.train[rng.choice(self.train.shape[0], n_atoms, replace=False)]
        self.first = first / np.linalg.norm(first, axis=1, keepdims=True)

    def objective(self, atoms: Any) -> float:
        """Mean objective of optimal codes of the held-out patches, by one and the same code for all learners."""
        D = np.asarray(atoms, dtype=np.float64)
        return float(encode(self.held_out.astype(np.float64), D, L1(_ALPHA)).objective.mean())

    def ours(self, n_batches: int = _BATCHES) -> Any:
        """Atoms after some batches."""
        model = LqDictionaryLearning(
            penalty="l1", alpha=_ALPHA, init=self.first, batch_size=_BATCH, n_batches=n_batches, random_state=0
        )
        return model.fit(self.train).components_

    def spams(self, spams: Any) -> Any:
        """Atoms of SPAMS after all batches."""
        settings = {"lambda1": _ALPHA, "mode": 2, "iter": _BATCHES, "batchsize": _BATCH, "numThreads": 1}
        columns, first = np.asfortranarray(self.train.T), np.asfortranarray(self.first.T)
        return spams.trainDL(columns, D=first, verbose=False, **settings).T

    def scikit_learn(self) -> Any:
        """Atoms of scikit-learn after a few batches."""
        decomposition = importlib.import_module("sklearn.decomposition")
        model = decomposition.MiniBatchDictionaryLearning(
            self.first.shape[0],
            alpha=_ALPHA,
            fit_algorithm="cd",
            batch_size=_BATCH,
            max_iter=1,
            dict_init=self.first,
            tol=0.0,
            max_no_improvement=None,
            shuffle=False,
        )
        return model.fit(self.train[: _FEW * _BATCH]).components_


def bench_dictionary(quick: bool) -> list[Row]:
    """Compare the time for one pass over 38400 patches, and the time for the objective that SPAMS reaches with it."""
    rows: list[Row] = []
    for n_atoms in (192,) if quick else (192, 768):
        problem = _Problem(n_atoms)
        problem.ours(1)
        repeats = 1 if quick else 5
        rows += _beside_spams(problem, n_atoms, repeats)
        rows.append(_beside_scikit_learn(problem, n_atoms, repeats))
    return rows


def _beside_spams(problem: _Problem, n_atoms: int, repeats: int) -> list[Row]:
    try:
        spams = importlib.import_module("spams")
    except ImportError:
        print("spams is not installed: left out", file=sys.stderr)
        return []
    ours, atoms = best_result(problem.ours, repeats)
    theirs, others = best_result(lambda: problem.spams(spams), repeats)
    reached, wanted = problem.objective(atoms), problem.objective(others)
    task = f"dictionary learning, l1, {n_atoms} atoms"
    # A faster learner of worse atoms meets no target.
    target = 1.5 if reached <= wanted else np.inf
    rows = [
        Row(
            f"{task}, {_BATCHES} batches (objective {reached:.3f})",
            f"SPAMS (objective {wanted:.3f})",
            ours,
            theirs,
            target,
        )
    ]
    for n_batches in _FEWER:
        if (early := problem.objective(problem.ours(n_batches))) <= wanted:
            seconds = best_result(lambda n=n_batches: problem.ours(n), repeats)[0]
            name = f"{task}, {n_batches} batches (objective {early:.3f})"
            return [*rows, Row(name, f"SPAMS, {_BATCHES} batches", seconds, theirs)]
    return rows


def _beside_scikit_learn(problem: _Problem, n_atoms: int, repeats: int) -> Row:
    ours, atoms = best_result(lambda: problem.ours(_FEW), repeats)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, others = best_result(problem.scikit_learn, 1)
    task = f"dictionary learning, l1, {n_atoms} atoms, {_FEW} batches (objective {problem.objective(atoms):.3f})"
    return Row(task, f"scikit-learn (objective {problem.objective(others):.3f})", ours, theirs)
