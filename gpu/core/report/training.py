"""Operations of training, for the common ways to train a sparse network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sparsetheory.constraints import COUNT, NONNEGATIVE, Choice, Constraint, Integer, Real, Several

__all__ = ["TRAINING_KINDS", "TrainingFlops", "training_flops"]

_PATH = Several(NONNEGATIVE, "a sequence of finite non-negative numbers")


@dataclass(frozen=True)
class TrainingFlops:
    """Operations of one way to train.

    Parameters
    ----------
    kind : str
        Which way, see :func:`training_flops`.
    per_step : float
        Operations per step and sample, the mean over all steps.
    total : float
        Operations of the whole training with all samples of its batches.
    """

    kind: str
    per_step: float
    total: float


def training_flops(kind: str, f_dense: float, f_sparse: float, n_steps: int, **details: Any) -> TrainingFlops:
    """Return the operations of a training run.

    A forward pass costs f. A backward pass costs 2 f: the gradient of the inputs of every layer, and that of its
    weights. A sparse layer saves in both, except where the dense gradient of the weights is wanted.

    ================  ==================================================================================
    kind              operations per step
    ================  ==================================================================================
    dense             3 f_dense
    static, set       3 f_sparse
    rigl              (3 period f_sparse + 2 f_sparse + f_dense) / (period + 1): one step with the dense gradient
                      after `period` others
    ssvi              (6 (period - 1) f_sparse + 4 f_sparse + f_dense) / period: two passes a step
    dense_gradient    2 f_sparse + f_dense: growth from a momentum or an accumulated gradient
    gradual           mean of 3 f over `path`
    imp               3 f summed over `path`, one entry for each round of pruning, `n_steps` steps in each
    snip              3 f_sparse, and one step of 3 f_dense at the start
    post              3 f_dense, and `calibration` forward passes of f_dense at the end
    ================  ==================================================================================

    Parameters
    ----------
    kind : str
        Which way, of the table.
    f_dense, f_sparse : float
        Operations of one forward pass with one sample.
    n_steps : int
        Steps of the optimiser; of ``imp`` in each round.
    **details
        ``period`` (int, ``rigl`` and ``ssvi``); ``path`` (sequence of float, forward operations at the steps or in the
        rounds; ``gradual`` and ``imp``); ``calibration`` (int, samples; ``post``); and for every kind ``batch_size``
        (int, 1 by default) and ``data_fraction`` (share of the samples that are trained with, 1 by default).

    Returns
    -------
    TrainingFlops

    Raises
    ------
    ValueError
        If the kind is unknown, or a detail is missing, not one of this kind, or out of range.

    References
    ----------
    .. [1] U. Evci, T. Gale, J. Menick, P. S. Castro, E. Elsen. Rigging the lottery: making all tickets winners.
       ICML 2020 (the count of ``rigl``).

    Examples
    --------
    >>> dense = training_flops("dense", 1.0, 0.1, 1000)
    >>> rigl = training_flops("rigl", 1.0, 0.1, 1000, period=100)
    >>> round(rigl.total / dense.total, 4)
    0.103
    """
    Choice(*TRAINING_KINDS).check("kind", kind)
    NONNEGATIVE.require(f_dense=f_dense, f_sparse=f_sparse)
    COUNT.check("n_steps", n_steps)
    samples = COUNT.check("batch_size", details.pop("batch_size", 1))
    samples *= Real(0.0, 1.0, closed="right").check("data_fraction", details.pop("data_fraction", 1.0))
    expected = _DETAILS.get(kind, {})
    if set(details) != set(expected):
        wanted = ", ".join(expected) or "no details of its own"
        raise ValueError(f"details of {kind!r} must be {wanted}; got {', '.join(sorted(details)) or 'none'}")
    checked = {name: expected[name].check(name, value) for name, value in details.items()}
    calibration = checked.pop("calibration", 0) * f_dense
    trained = TRAINING_KINDS[kind](f_dense, f_sparse, n_steps, **checked) * samples
    steps = n_steps * len(checked["path"]) if kind == "imp" else n_steps
    return TrainingFlops(kind, (trained + calibration) / (steps * samples), trained + calibration)


# Operations of all steps, with one sample.
_Cost = Callable[..., float]
_DETAILS: dict[str, dict[str, Constraint]] = {
    "rigl": {"period": COUNT},
    "ssvi": {"period": COUNT},
    "gradual": {"path": _PATH},
    "imp": {"path": _PATH},
    "post": {"calibration": Integer(0)},
}


def _dense(f_dense: float, f_sparse: float, n_steps: int) -> float:
    return 3 * f_dense * n_steps


def _static(f_dense: float, f_sparse: float, n_steps: int) -> float:
    return 3 * f_sparse * n_steps


def _rigl(f_dense: float, f_sparse: float, n_steps: int, period: int) -> float:
    return n_steps * (3 * period * f_sparse + 2 * f_sparse + f_dense) / (period + 1)


def _ssvi(f_dense: float, f_sparse: float, n_steps: int, period: int) -> float:
    return n_steps * (6 * (period - 1) * f_sparse + 4 * f_sparse + f_dense) / period


def _dense_gradient(f_dense: float, f_sparse: float, n_steps: int) -> float:
    return n_steps * (2 * f_sparse + f_dense)


def _gradual(f_dense: float, f_sparse: float, n_steps: int, path: Sequence[float]) -> float:
    return 3 * n_steps * _mean(path)


def _imp(f_dense: float, f_sparse: float, n_steps: int, path: Sequence[float]) -> float:
    return 3 * n_steps * len(path) * _mean(path)


def _snip(f_dense: float, f_sparse: float, n_steps: int) -> float:
    return 3 * f_sparse * n_steps + 3 * f_dense


def _mean(path: Sequence[float]) -> float:
    if len(path) < 1:
        raise ValueError("path must have at least 1 entry; got none")
    return float(sum(path)) / len(path)


TRAINING_KINDS: dict[str, _Cost] = {
    "dense": _dense,
    "static": _static,
    "set": _static,
    "rigl": _rigl,
    "ssvi": _ssvi,
    "dense_gradient": _dense_gradient,
    "gradual": _gradual,
    "imp": _imp,
    "snip": _snip,
    "post": _dense,
}
