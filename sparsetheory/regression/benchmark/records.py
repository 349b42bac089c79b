"""Records of a recovery benchmark, and their summary."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["RecoveryRecord", "RecoverySummary", "summarise"]


@dataclass(frozen=True)
class RecoveryRecord:
    r"""One method on one problem.

    Parameters
    ----------
    design, mode, method : str
        What was run; `mode` is the kind of coefficients.
    repetition : int
        Same problem for all methods; same design, support and noise for all modes.
    error : float
        :math:`\frac1N \|X(\hat w - w^*)\|^2 / \sigma^2`: 1 is interpolation, ``(signal_size / noise_std) ** 2`` is
        predicting zero. NaN if the method failed.
    support_f1 : float
        F1 score of the support; NaN if the method gives predictions only.
    ols_error : float
        Error of least squares on the true support.
    condition : float
        Condition number of the support's columns.
    seconds : float
        Spent fitting.
    random_state : tuple of int
        Entropy, then the spawn key: ``SeedSequence(random_state[:-1], spawn_key=random_state[-1:])`` draws the problem
        again.
    failed : str or None
        What the method raised.
    """

    design: str
    mode: str
    method: str
    repetition: int
    error: float
    support_f1: float
    ols_error: float
    condition: float
    seconds: float
    random_state: tuple[int, ...]
    failed: str | None


@dataclass(frozen=True)
class RecoverySummary:
    """All repetitions of one method on one design with one kind of coefficients.

    Parameters
    ----------
    design, mode, method : str
        What was run.
    n_records : int
        Number of records.
    median, quantile90 : float
        Of the error, as order statistics; a failure counts as an infinite error.
    ols_median : float
        Median error of least squares on the true support.
    support_f1 : float
        Median; NaN if no record has one.
    seconds : float
        Median.
    n_failed : int
        Number of failures.
    """

    design: str
    mode: str
    method: str
    n_records: int
    median: float
    quantile90: float
    ols_median: float
    support_f1: float
    seconds: float
    n_failed: int


def summarise(records: Iterable[RecoveryRecord]) -> list[RecoverySummary]:
    """Return median and 90% quantile of the error for every design, mode and method.

    Parameters
    ----------
    records : iterable of RecoveryRecord
        Results of :func:`~sparsetheory.regression.benchmark.run.benchmark_recovery`.

    Returns
    -------
    list of RecoverySummary
        In the order in which they first appear.

    Examples
    --------
    >>> from sparsetheory.regression.benchmark.run import benchmark_recovery
    >>> zero = lambda X, y, n_nonzero, noise_std: 0 * y
    >>> records = benchmark_recovery(
    ...     {"zero": zero}, ["gaussian"], modes=["min"], n_repetitions=3, n_samples=30, n_features=40, n_nonzero=2
    ... )
    >>> [(row.method, round(row.median, 6)) for row in summarise(records)]
    [('zero', 100.0)]
    """
    groups: dict[tuple[str, str, str], list[RecoveryRecord]] = {}
    for record in records:
        groups.setdefault((record.design, record.mode, record.method), []).append(record)
    return [_summary(key, group) for key, group in groups.items()]


def _summary(key: tuple[str, str, str], group: Sequence[RecoveryRecord]) -> RecoverySummary:
    n_failed = sum(record.failed is not None for record in group)
    errors = [record.error if record.failed is None else math.inf for record in group]
    scores = [record.support_f1 for record in group if not math.isnan(record.support_f1)]
    return RecoverySummary(
        *key,
        n_records=len(group),
        median=_order_statistic(errors, 0.5),
        quantile90=_order_statistic(errors, 0.9),
        ols_median=_order_statistic([record.ols_error for record in group], 0.5),
        support_f1=_order_statistic(scores, 0.5),
        seconds=_order_statistic([record.seconds for record in group], 0.5),
        n_failed=n_failed,
    )


def _order_statistic(values: Sequence[float], probability: float) -> float:
    return float(np.quantile(values, probability, method="inverted_cdf")) if values else math.nan
