"""Claims and a study that take microseconds, found by the registry when a test points it at this folder."""

import os
import signal

import numpy as np
from hypothesis import strategies as st

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks import Always, Claim, Measurement, ScalesAs, Source, Sweep


def draw_vector(rng, size):
    return rng.standard_normal(int(size))


def compare_norms(vector):
    vector = np.asarray(vector, float)
    two, infinity = np.linalg.norm(vector), np.abs(vector).max()
    return Measurement(infinity, two, extras={"half": two / 2})


def swapped_norms(vector):
    m = compare_norms(vector)
    return Measurement(m.bound, m.measured)


norms = Claim(
    name="toys.norms",
    statement=r"\|x\|_\infty \le \|x\|_2",
    source=Source("folklore", "norms <of> [vectors]", provenance="classic"),
    verdict=Always(rtol=1e-12),
    instances=lambda: st.lists(st.integers(-9, 9), min_size=1, max_size=4),
    evaluate=compare_norms,
    near_miss=swapped_norms,
    sweep=Sweep("size", (2, 8, 32), draw_vector, trials=6, quick_trials=4, log="xy"),
)


def squared_norm(vector):
    return Measurement(float(vector @ vector), float(2 * vector.size))


energy = Claim(
    name="toys.energy",
    statement=r"\mathbb{E} \|x\|_2^2 \sim n",
    source=Source("these tests", "scaling", provenance="ours"),
    verdict=ScalesAs(1.0, tol=0.3),
    instances=lambda: st.just(np.ones(3)),
    evaluate=squared_norm,
    near_miss=2.0,
    sweep=Sweep("dimension", (64, 256, 1024), draw_vector, trials=6, quick_trials=4, log="xy"),
)

triangle = Claim(
    name="toys.triangle",
    statement=r"|a + b| \le |a| + |b|",
    source=Source("folklore", "triangle inequality", arxiv="0000.00000"),
    verdict=Always(rtol=0.0),
    instances=lambda: st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
    evaluate=lambda ab: Measurement(abs(sum(ab)), abs(ab[0]) + abs(ab[1])),
    near_miss=lambda ab: Measurement(abs(sum(ab)), max(abs(ab[0]), abs(ab[1]))),
)


def count_letters(profile):
    rows = [(word, len(word), len(word) / 3) for word in ("sparse", "<b>low</b>", profile)]
    return StudyResult(
        ("word", "letters", "third"),
        rows,
        notes="Thirds are rounded.",
        plot=lambda figure: figure.subplots().plot([1, 2]),
    )


letters = Study("toys.letters", "Letters & words", "Counts the letters of [words].", count_letters)


def fails_at_eight(vector):
    if vector.size == 8:
        raise ZeroDivisionError("no eight")
    return Measurement(0.0, 1.0)


def kills_its_process_at_1024(vector):
    if vector.size == 1024:
        os.kill(os.getpid(), signal.SIGKILL)
    return squared_norm(vector)


def name_of(reference):
    return reference.resolve().name
