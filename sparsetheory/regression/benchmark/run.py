"""A benchmark of sparse regression on random supports with coefficients chosen to cancel."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from threadpoolctl import threadpool_limits

from sparsetheory.constraints import COUNT, FLAG, JOBS, Choice, Several, generator
from sparsetheory.progress import tracked
from sparsetheory.regression.benchmark.methods import check_method, run_method
from sparsetheory.regression.benchmark.problems import ProblemSize, draw_problems
from sparsetheory.regression.benchmark.records import RecoveryRecord, RecoverySummary, summarise
from sparsetheory.regression.datasets.coefficients import COEFFICIENT_MODES
from sparsetheory.regression.datasets.registry import check_design, make_design

__all__ = ["RecoveryRecord", "RecoverySummary", "benchmark_recovery", "summarise"]

Designs = Sequence[str] | Mapping[str, Mapping[str, Any] | Callable[..., Any]]


@dataclass(frozen=True)
class _Trial:
    design: str
    draw: Callable[..., Any]
    repetition: int
    seed: np.random.SeedSequence

    @property
    def key(self) -> tuple[int, ...]:
        return (*self.seed.entropy, *self.seed.spawn_key)  # type: ignore[misc]


def benchmark_recovery(
    methods: Mapping[str, Any],
    designs: Designs,
    *,
    modes: Sequence[str] = COEFFICIENT_MODES,
    n_repetitions: int = 20,
    random_state: Any = 0,
    n_samples: int = 300,
    n_features: int = 1000,
    n_nonzero: int = 6,
    noise_std: float = 0.1,
    signal_size: float = 1.0,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> list[RecoveryRecord]:
    """Compare methods on random supports, where ordinary benchmarks hide failures.

    Random coefficients hardly cancel, and then most methods work on most designs. Coefficients chosen after the
    support is known show which methods do not depend on the condition number.

    Parameters
    ----------
    methods : mapping of str to estimator or callable
        Estimators are cloned. ``callable(X, y, n_nonzero, noise_std)``, which may use what is not known in practice,
        returns one coefficient per column, one prediction per row, or a fitted estimator.
    designs : sequence of str, or mapping
        Names of :func:`~sparsetheory.regression.make_design`; or a name with its parameters; or a label with
        ``callable(n_samples, n_features, random_state=generator)`` that returns a design or a
        :class:`~sparsetheory.regression.WorstCase`.
    modes : sequence of {"min", "mix", "gauss"}
        See :func:`~sparsetheory.regression.datasets.coefficients.adversarial_coefficients`.
    n_repetitions : int
        Problems per design and mode.
    random_state : None, int, Generator or RandomState
        Seed. A problem depends on it, on the label of its design and on its repetition, not on `n_jobs` nor on what
        else is run. Callables seed themselves.
    n_samples, n_features, n_nonzero : int
        Numbers of rows and columns, and size of the support.
    noise_std, signal_size : float
        Standard deviation of the noise and root mean square of the signal.
    n_jobs : int, optional
        Workers, as joblib counts them. Every worker uses one BLAS thread.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    list of RecoveryRecord
        By design, repetition, mode and method.

    Raises
    ------
    ValueError
        If an argument is out of range, or a design yields no support that can be used.
    TypeError
        If a method is neither an estimator nor a callable.

    Notes
    -----
    Provenance: ours. A method that raises is recorded and does not stop the others.

    Examples
    --------
    >>> from sklearn.linear_model import OrthogonalMatchingPursuit
    >>> omp = OrthogonalMatchingPursuit(n_nonzero_coefs=3)
    >>> records = benchmark_recovery(
    ...     {"omp": omp}, ["gaussian"], modes=["gauss"], n_repetitions=2, n_samples=80, n_features=100, n_nonzero=3,
    ...     noise_std=0.01,
    ... )
    >>> [record.support_f1 for record in records]
    [1.0, 1.0]
    """
    size = ProblemSize(n_samples, n_features, n_nonzero, noise_std, signal_size)
    COUNT.require(n_repetitions=n_repetitions)
    JOBS.check("n_jobs", n_jobs)
    FLAG.require(verbose=verbose)
    modes = _check_modes(modes)
    for name, method in dict(methods).items():
        check_method(name, method)
    trials = _plan(_check_designs(designs), n_repetitions, random_state)
    tasks = [delayed(_run_trial)(trial, dict(methods), size, modes) for trial in trials]
    backend, _ = get_active_backend()
    return_as = "generator" if backend.supports_return_generator else "list"
    batches = tracked(Parallel(n_jobs=n_jobs, return_as=return_as)(tasks), "recovery", verbose, len(tasks))
    return [record for batch in batches for record in batch]


def _check_modes(modes: Sequence[str]) -> list[str]:
    Several(Choice(*COEFFICIENT_MODES)).check("modes", modes)
    if len(modes) == 0:
        raise ValueError(f"modes must be at least one of {', '.join(COEFFICIENT_MODES)}; got {modes!r}")
    return list(modes)


def _check_designs(designs: Designs) -> dict[str, Callable[..., Any]]:
    if isinstance(designs, str | bytes) or not isinstance(designs, Sequence | Mapping) or not designs:
        raise ValueError(f"designs must be names, or a mapping of names to parameters; got {designs!r}")
    items = designs if isinstance(designs, Mapping) else {name: {} for name in designs}
    return {label: value if callable(value) else _named(label, value) for label, value in items.items()}


def _named(name: str, params: Mapping[str, Any]) -> Callable[..., Any]:
    check_design(name, dict(params))
    return partial(make_design, name, **params)


def _plan(designs: Mapping[str, Callable[..., Any]], n_repetitions: int, random_state: Any) -> list[_Trial]:
    fixed = isinstance(random_state, int | np.integer) and random_state >= 0
    root = int(random_state) if fixed else int(generator(random_state).integers(2**63))
    return [
        _Trial(label, draw, repetition, seed)
        for label, draw in designs.items()
        for repetition, seed in enumerate(np.random.SeedSequence([root, crc32(label.encode())]).spawn(n_repetitions))
    ]


def _run_trial(
    trial: _Trial, methods: Mapping[str, Any], size: ProblemSize, modes: Sequence[str]
) -> list[RecoveryRecord]:
    records = []
    with threadpool_limits(1):
        for mode, problem in draw_problems(trial.draw, size, modes, trial.seed):
            ols_error, condition = problem.ols_error(), problem.condition()
            for name, method in methods.items():
                outcome = run_method(method, problem, _method_seed(trial, name))
                records.append(
                    RecoveryRecord(
                        design=trial.design,
                        mode=mode,
                        method=name,
                        repetition=trial.repetition,
                        error=outcome.error,
                        support_f1=outcome.support_f1,
                        ols_error=ols_error,
                        condition=condition,
                        seconds=outcome.seconds,
                        random_state=trial.key,
                        failed=outcome.failed,
                    )
                )
    return records


def _method_seed(trial: _Trial, name: str) -> int:
    return int(np.random.SeedSequence([*trial.key, crc32(name.encode())]).generate_state(1)[0])
