"""What the user of Turbo-VBI may pass, checked, and turned into a problem, a model and a prior."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils.validation import validate_data

from sparsetheory.bayesian.data_units import require_coefficients
from sparsetheory.bayesian.markov.chain import check_transitions
from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior, SupportPrior
from sparsetheory.bayesian.markov.support_priors_grid import GridPrior, RowsPrior
from sparsetheory.bayesian.turbo.model import TurboModel
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.constraints import POSITIVE, Choice
from sparsetheory.ranges import require_squares
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["check_arrays", "make_model", "make_prior", "make_problem", "read_arrays", "read_rows", "require_units"]

PRIORS = ("iid", "chain", "chain2d_rows", "grid_bp", "grid_rows_mf")
COUPLINGS = ("collapsed", "meanfield")
# A prior of the noise with a smaller shape is meant to be vague, and is not if its rate exceeds this share of what the
# data contribute.
_SMALL = 1e-3


def check_arrays(F: Any, y: Any) -> tuple[AnyArray, AnyArray]:
    """Return data as arrays of one floating-point type, checked as scikit-learn checks real ones.

    Raises
    ------
    ValueError
        If they are no numbers, shapes do not fit, or values are not finite.
    TypeError
        If a matrix is sparse.
    """
    arrays = []
    for name, value in (("F", F), ("y", y)):
        if sparse.issparse(value):
            raise TypeError(f"{name} must be dense: sparse data were passed, make them dense with .toarray()")
        array = np.asarray(value)
        if array.dtype.kind == "O":
            try:
                array = array.astype(np.float64)
            except (TypeError, ValueError):
                raise ValueError(f"{name} must be an array of numbers; got {array.dtype}") from None
        if array.dtype.kind not in "biufc":
            raise ValueError(f"{name} must be an array of numbers; got {array.dtype}")
        arrays.append(array)
    F, y = arrays
    single = np.float32 if F.dtype in (np.float32, np.complex64) else np.float64
    real = np.result_type(single, np.float32 if y.dtype.kind in "biu" else y.real.dtype)
    dtype = np.result_type(real, np.complex64) if "c" in F.dtype.kind + y.dtype.kind else real
    if F.ndim != 2 or 0 in F.shape:
        raise ValueError(f"F must be a matrix with at least one row and one column; got shape {F.shape}")
    if y.ndim not in (1, 2) or y.shape[0] != F.shape[0] or y.size == 0:
        raise ValueError(f"y must have one entry or row per row of F, {F.shape[0]}; got shape {y.shape}")
    for name, value in (("F", F), ("y", y)):
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{name} contains NaN or infinity")
    return F.astype(dtype), y.astype(dtype)


def read_arrays(estimator: Any, F: Any, y: Any, **settings: Any) -> tuple[AnyArray, AnyArray]:
    """Return data as `fit` takes them, and let the estimator remember their features.

    Parameters
    ----------
    estimator : BaseEstimator
    F : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    **settings
        Of scikit-learn's checks, for real data.

    Raises
    ------
    ValueError
        As :func:`check_arrays`.
    TypeError
        If F is sparse.
    """
    if sparse.issparse(F):
        raise TypeError("F must be dense: sparse data were passed, make them dense with .toarray()")
    if np.iscomplexobj(np.asarray(F)) or np.iscomplexobj(np.asarray(y)):
        validate_data(estimator, F, y, skip_check_array=True)
        return check_arrays(F, y)
    kinds = [np.float64, np.float32]
    F, y = validate_data(estimator, F, y, dtype=kinds, y_numeric=True, ensure_all_finite=False, **settings)
    for name, value in (("F", F), ("y", y)):
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{name} contains NaN or infinity")
    return F, y


def read_rows(estimator: Any, F: Any) -> AnyArray:
    """Return new rows as `predict` takes them.

    Parameters
    ----------
    estimator : BaseEstimator
        Fitted.
    F : array-like of shape (n_samples, n_features)

    Raises
    ------
    ValueError
        As :func:`check_arrays`, or if the number of features is not that of the fit.
    TypeError
        If F is sparse.
    """
    if sparse.issparse(F):
        raise TypeError("F must be dense: sparse data were passed, make them dense with .toarray()")
    if np.iscomplexobj(np.asarray(F)):
        validate_data(estimator, F, skip_check_array=True, reset=False)
        F = np.asarray(F)
        return check_arrays(F, np.zeros(F.shape[:1], F.dtype))[0]
    F = validate_data(estimator, F, dtype=[np.float64, np.float32], reset=False, ensure_all_finite=False)
    if not np.all(np.isfinite(F)):
        raise ValueError("F contains NaN or infinity")
    return np.asarray(F)


def make_problem(F: AnyArray, y: AnyArray, weights: Float64Array | None) -> TurboProblem:
    """Weight the rows, set columns of zeros aside, and keep the rest in double precision.

    Warns
    -----
    RuntimeWarning
        If a column is zero: its coefficient keeps its prior.
    """
    dtype = np.complex128 if np.iscomplexobj(F) else np.float64
    F, Y = F.astype(dtype), y.astype(dtype).reshape(y.shape[0], -1)
    if weights is not None:
        if not weights.any():
            raise ValueError("sample_weight must not be zero for all rows")
        F, Y = (np.sqrt(weights)[:, None] * block for block in (F, Y))
    live = np.flatnonzero(F.any(axis=0))
    if live.size == 0:
        raise ValueError("F must have a column that is not zero")
    require_units(F[:, live], Y)
    if live.size < F.shape[1]:
        warnings.warn(
            f"{F.shape[1] - live.size} columns of F are zero: their coefficients keep their prior",
            RuntimeWarning,
            stacklevel=3,
        )
    n_rows = float(Y.shape[0] if weights is None else weights.sum())
    return TurboProblem(np.asfortranarray(F[:, live]), np.asfortranarray(Y), n_rows, live, F.shape[1])


def require_units(F: AnyArray, Y: AnyArray) -> None:
    """Raise ValueError where squares of data, of columns or of coefficients would leave the range."""
    require_squares("F", F)
    require_squares("y", Y.reshape(-1))
    data, largest = float(np.sqrt(np.mean(np.abs(Y) ** 2))), float(np.linalg.norm(F, axis=0).max())
    if data > 0:
        size = np.log10(data) - np.log10(largest)
        require_coefficients("F", np.log10(data), size, size)


def make_prior(prior: Any, p01: Any, p10: Any, grid_shape: Any, n: int) -> SupportPrior:
    """Return the prior of the support.

    Warns
    -----
    RuntimeWarning
        If ``p01 + p10 > 1``: neighbours then avoid being alike.
    """
    Choice(*PRIORS).check("prior", prior)
    check_transitions(p01, p10)
    p01, p10 = float(p01), float(p10)
    if grid_shape is not None:
        _grid_shape(prior, grid_shape, n)
    if prior == "iid":
        return IndependentPrior(p01 / (p01 + p10))
    if p01 + p10 > 1:
        warnings.warn(
            f"p01 + p10 = {p01 + p10:g} > 1: neighbours avoid the state of each other, and supports do not cluster",
            RuntimeWarning,
            stacklevel=3,
        )
    shape = (1, n) if prior == "chain" else _grid_shape(prior, grid_shape, n)
    if 1 in shape:
        return ChainPrior(p01, p10, (1, n))
    if prior == "chain2d_rows":
        return ChainPrior(p01, p10, shape)
    return (GridPrior if prior == "grid_bp" else RowsPrior)(p01, p10, shape)


def _grid_shape(prior: str, grid_shape: Any, n: int) -> tuple[int, int]:
    try:
        rows, cols = (int(size) for size in grid_shape)
    except (TypeError, ValueError):
        raise ValueError(f"prior={prior!r} needs grid_shape=(rows, columns); got {grid_shape!r}") from None
    if rows < 1 or cols < 1 or rows * cols != n:
        raise ValueError(f"grid_shape must have {n} nodes, one per column of F; got {grid_shape!r}")
    return rows, cols


def make_model(
    problem: TurboProblem,
    density: float,
    *,
    a: ArrayLike,
    b: Any,
    a_off: ArrayLike,
    b_off_ratio: Any,
    c: Any,
    d: Any,
    noise: Any,
    coupling: Any,
    convention: Any,
) -> TurboModel:
    """Return the priors of the precisions of all coefficients and of the noise.

    Raises
    ------
    ValueError
        If a hyper-parameter is out of its range, or coefficients that are off would be expected to be the larger ones.
    """
    Choice(*COUPLINGS).check("coupling", coupling)
    variance = _noise_variance(noise)
    shapes = _positive("a", a, problem.n_total), _positive("a_off", a_off, problem.n_total)
    rate = _rate(problem, b, shapes[0], density, variance)
    ratio = POSITIVE.check("b_off_ratio", b_off_ratio)
    if np.any(ratio * shapes[0] >= shapes[1]):
        raise ValueError(
            "the off state must have a larger precision than the on state: b_off_ratio must be below a_off / a; "
            f"got {b_off_ratio!r}"
        )
    beta = 1.0 if np.iscomplexobj(problem.F) else 0.5
    shape_of_noise, share = POSITIVE.check("c", c), POSITIVE.check("d", d)
    if variance is None and shape_of_noise < _SMALL and share > _SMALL * beta * problem.n_rows:
        warnings.warn(
            f"d={d!r} expects noise not far below the mean square of the data; lower d",
            RuntimeWarning,
            stacklevel=3,
        )
    return TurboModel(
        a=shapes[0],
        b=rate,
        a_off=shapes[1],
        b_off=ratio * rate,
        c=shape_of_noise,
        d=share * problem.scale,
        beta=beta,
        update_beta=_update_beta(convention, beta),
        coupling=coupling,
        n_rows=problem.n_rows,
        n_snapshots=problem.n_snapshots,
        noise_precision=None if variance is None else 1.0 / variance,
        largest_precision=1e12 / problem.scale,
    )


def _noise_variance(noise: Any) -> float | None:
    if isinstance(noise, str) and noise == "learn":
        return None
    if isinstance(noise, str):
        raise ValueError(f"noise must be a positive variance or 'learn'; got {noise!r}")
    return POSITIVE.check("noise", noise)


def _positive(name: str, value: ArrayLike, n: int) -> Float64Array:
    try:
        out = np.asarray(value, dtype=np.float64)
        out = np.broadcast_to(out, n)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a positive number or {n} of them; got {value!r}") from None
    if not np.all(np.isfinite(out) & (out > 0)):
        raise ValueError(f"{name} must be positive and finite; got {value!r}")
    return out


def _rate(problem: TurboProblem, b: Any, shape: Float64Array, density: float, variance: float | None) -> Float64Array:
    """Return the rate of precisions that are on; "auto" gives the data the energy that they have."""
    if not (isinstance(b, str) and b == "auto"):
        return _positive("b", b, problem.n_total)
    energy = problem.energy if problem.energy > 0 else problem.n_rows * problem.scale
    noise = 0.0 if variance is None else problem.n_rows * variance
    signal = max(energy - noise, 0.01 * energy)
    return shape * signal / (density * float(problem.column_squares.sum()))


def _update_beta(convention: Any, beta: float) -> float:
    """Return the exponent that the updates use."""
    Choice("auto", "paper", 0.5, 1.0).check("convention", convention)
    forced = {"auto": beta, "paper": 1.0}.get(convention, convention)
    if forced < beta:
        warnings.warn("convention=0.5 is for real data; the data are complex", RuntimeWarning, stacklevel=4)
    return float(forced)
