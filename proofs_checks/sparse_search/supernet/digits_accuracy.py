"""Claim about what a search among sparse operations finds for digits, beside a dense search that is pruned."""

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.sparse_search.supernet.digits_chain import ChainRun
from sparsetheory.proofs_checks.verdicts import WithProbability

_SLACK = 0.02


def _draw(rng: np.random.Generator, steps: float) -> ChainRun:
    return ChainRun(int(rng.integers(2**31)), int(steps))


def _no_worse(run: ChainRun) -> Measurement:
    """Compare the accuracy with that of the pruned network less 2 %; both use equally many weights at most."""
    pruned, sparse = run.dense_then_pruned, run.sparse
    assert pruned.n_nonzero <= sparse.n_nonzero
    extras = {"dense search, pruned": pruned.accuracy}
    return Measurement(pruned.accuracy - _SLACK, sparse.accuracy, scale=1.0, extras=extras)


def _better(run: ChainRun) -> Measurement:
    """Expect the sparse search to be better by 2 %."""
    return Measurement(run.dense_then_pruned.accuracy + _SLACK, run.sparse.accuracy, scale=1.0)


sparse_ops_against_pruning = Claim(
    name="sparse_search.sparse_ops_against_pruning",
    summary="A chain searched with sparse operations is at most 2 % worse than a dense search, pruned to its weights.",
    statement=r"a_{\text{sparse search}} \ge a_{\text{dense search, pruned}} - 0.02"
    r" \quad \text{at } |W|_0 \text{ not above}",
    source=Source.measured(
        "digits, three edges of width 64 among identity, dense, and densities 0.25 and 0.05, after DASS (2207.06968)"
    ),
    verdict=WithProbability(0.8, margin=0.3),
    evaluate=_no_worse,
    near_miss=_better,
    sweep=Sweep(
        axis="alternating steps of the search",
        values=(25.0, 50.0, 100.0, 200.0),
        draw=_draw,
        trials=20,
        quick_trials=7,
        quick_values=(25.0,),
        measured_label="dense search, pruned, less 0.02",
        bound_label="sparse search",
        log="x",
        y_label="accuracy",
    ),
)
