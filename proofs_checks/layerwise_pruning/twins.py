"""Claims about the solvers in torch: in double precision they give the answers of the compiled ones."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.coding import encode
from sparsetheory.gpu import core, solvers, weights
from sparsetheory.penalties import L1, ElasticNet, Penalty
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import ROUNDING, Layer, layers, seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.lq_coding.instances import penalties
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.regression import NIHT, omp_gram
from sparsetheory.typing import AnyArray, Float64Array

_TWIN = Source.ours("twin in torch of a compiled solver")


def _alike(objectives: tuple[AnyArray, AnyArray], differing: float, scale: float) -> Measurement:
    """Return the largest difference of two objectives; an entry that only one solution has counts as the scale."""
    off = float(np.abs(np.asarray(objectives[0]) - np.asarray(objectives[1])).max(initial=0.0))
    return Measurement(off + scale * differing, 0.0, scale=scale)


def _differing(first: AnyArray, second: AnyArray, least: float = 0.0) -> int:
    """Count entries that are zero in one array and larger than `least` in the other."""
    return int(((np.abs(first) > least) & (second == 0)).sum() + ((np.abs(second) > least) & (first == 0)).sum())


@dataclass(frozen=True, eq=False)
class Targets:
    """Columns, targets and a number of columns for each."""

    X: Float64Array
    Y: Float64Array
    n_nonzero: int

    def products(self) -> tuple[Float64Array, Float64Array]:
        """Return Gram matrix and correlations."""
        return self.X.T @ self.X, self.Y.T @ self.X

    def objectives(self, coefficients: AnyArray) -> Float64Array:
        """Return the squared residual of every target."""
        return np.square(self.Y - self.X @ coefficients.T).sum(0)

    @property
    def scale(self) -> float:
        """Largest square of a target."""
        return float(np.square(self.Y).sum(0).max())


def _draw_targets(seed: int, kind: str, p: int, n_nonzero: int) -> Targets:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2 * p, p)) + (kind == "common factor") * rng.standard_normal((2 * p, 1))
    if kind == "scales":
        X *= np.exp(2.0 * rng.standard_normal(p))
    planted = rng.standard_normal((p, 4)) * (rng.random((p, 4)) < 0.3)
    return Targets(X, X @ planted + rng.standard_normal((2 * p, 4)), min(n_nonzero, p))


def _targets() -> st.SearchStrategy[Targets]:
    kinds = st.sampled_from(["gaussian", "common factor", "scales"])
    return st.builds(_draw_targets, seeds, kinds, st.integers(2, 30), st.integers(1, 12))


def _compare_pursuits(case: Targets, found: AnyArray) -> Measurement:
    expected = omp_gram(*case.products(), n_nonzero=case.n_nonzero)
    objectives = case.objectives(found), case.objectives(expected)
    return _alike(objectives, _differing(found, expected), case.scale)


def _omp(case: Targets) -> Measurement:
    """Compare squared residuals and supports of both solvers.

    Both take the column of the largest cosine with the residual and orthonormalise it. Without ties the columns agree,
    and so do least squares on them.
    """
    gram, correlations = case.products()
    return _compare_pursuits(
        case, array(solvers.omp_gram(tensor(gram), tensor(correlations), n_nonzero=case.n_nonzero))
    )


def _all_at_once(case: Targets) -> Measurement:
    """Take the columns of the largest cosines with the target, all at once, and fit them."""
    cosines = np.abs(case.Y.T @ case.X) / np.linalg.norm(case.X, axis=0)
    found = np.zeros_like(cosines)
    for row, y, best in zip(found, case.Y.T, np.argsort(-cosines, axis=1)[:, : case.n_nonzero], strict=True):
        row[best] = np.linalg.lstsq(case.X[:, best], y, rcond=None)[0]
    return _compare_pursuits(case, found)


twin_omp = Claim(
    name="layerwise_pruning.twin_omp",
    summary="Orthogonal matching pursuit in torch selects and fits the columns of the compiled solver.",
    statement=r"S_{\text{torch}} = S_{\text{compiled}}, \quad |f_{\text{torch}} - f_{\text{compiled}}|"
    r" \le 10^{-9} \|y\|^2",
    source=_TWIN,
    verdict=Always(1e-9),
    instances=_targets,
    evaluate=_omp,
    near_miss=_all_at_once,
)


@dataclass(frozen=True, eq=False)
class Shrinking:
    """Entries, a penalty and a step."""

    x: Float64Array
    penalty: Penalty
    step: float

    def objective(self, z: AnyArray) -> Float64Array:
        """Return the objective of every entry."""
        return np.array([(a - b) ** 2 / 2 + self.step * self.penalty.value(b) for a, b in zip(self.x, z, strict=True)])


def _draw_shrinking(seed: int, penalty: Penalty, decade: float) -> Shrinking:
    rng = np.random.default_rng(seed)
    return Shrinking(rng.standard_normal(8) * 10.0 ** rng.uniform(-3, 2, 8), penalty, 10.0**decade)


def _shrinkings() -> st.SearchStrategy[Shrinking]:
    return st.builds(_draw_shrinking, seeds, penalties(), st.floats(-2.0, 1.0))


def _compare_shrinkings(case: Shrinking, found: AnyArray) -> Measurement:
    expected = np.asarray(case.penalty.prox(case.x, case.step))
    here, there = case.objective(found), case.objective(expected)
    # Relative to what zero costs, entry by entry. At a threshold two values cost the same, so supports may differ.
    worst = np.abs(here - there) / (case.x**2 / 2)
    return Measurement(float(worst.max()), 0.0, scale=1.0)


def _prox(case: Shrinking) -> Measurement:
    """Compare the objectives ``(z - x)^2 / 2 + step penalty(z)`` of both operators, entry by entry."""
    return _compare_shrinkings(case, array(solvers.prox(tensor(case.x), case.penalty, case.step)))


def _soft(case: Shrinking) -> Measurement:
    """Shrink by soft thresholding, whatever the penalty."""
    return _compare_shrinkings(case, array(solvers.prox(tensor(case.x), L1(case.penalty.alpha), case.step)))


twin_prox = Claim(
    name="layerwise_pruning.twin_prox",
    summary="Proximal operators in torch reach the objective of the compiled ones, for all penalties.",
    statement=r"\big|F(z_{\text{torch}}) - F(z_{\text{compiled}})\big| \le 10^{-9} F(0), \quad"
    r" F(z) = \tfrac12 (z - x)^2 + \tau \phi(z)",
    source=_TWIN,
    verdict=Always(1e-9),
    instances=_shrinkings,
    evaluate=_prox,
    near_miss=_soft,
)


@dataclass(frozen=True, eq=False)
class Signals:
    """Signals, unit atoms and a convex penalty."""

    X: Float64Array
    D: Float64Array
    penalty: L1 | ElasticNet

    def objectives(self, codes: AnyArray) -> Float64Array:
        """Return the objective of every signal."""
        fits = np.square(self.X - codes @ self.D).sum(1) / 2
        return fits + np.array([self.penalty.value(code) for code in codes])


def _draw_signals(seed: int, n_atoms: int, share: float, ratio: float, positive: bool) -> Signals:
    rng = np.random.default_rng(seed)
    X, D = rng.standard_normal((3, 12)), rng.standard_normal((n_atoms, 12))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    alpha = share * float(np.abs(X @ D.T).max())
    penalty = L1(alpha, positive=positive) if ratio == 1.0 else ElasticNet(alpha, ratio, positive=positive)
    return Signals(X, D, penalty)


def _signals() -> st.SearchStrategy[Signals]:
    shares, ratios = st.sampled_from([0.02, 0.1, 0.5, 1.5]), st.sampled_from([1.0, 1.0, 0.5])
    return st.builds(_draw_signals, seeds, st.integers(1, 30), shares, ratios, st.booleans())


def _codes(case: Signals, solver: str, tol: float = 1e-12, max_iter: int = 10_000) -> Measurement:
    """Compare objectives and supports of the codes that both solvers find.

    The objective is strictly convex on general atoms, so codes are unique, and both stop at a duality gap that bounds
    the distance to the minimum.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = array(
            solvers.encode(
                tensor(case.X), tensor(case.D), case.penalty, solver=solver, tol=tol, max_iter=max_iter
            ).codes
        )
        expected = encode(case.X, case.D, case.penalty, tol=1e-12, max_iter=10_000).codes
    objectives = case.objectives(found), case.objectives(expected)
    # Entries at the edge of the support are as small as the gap leaves them.
    return _alike(objectives, _differing(found, expected, 1e-4), float(np.square(case.X).sum(1).max()) / 2)


_active_set = partial(_codes, solver="fss")
_active_set.__doc__ = _codes.__doc__

twin_encode = Claim(
    name="layerwise_pruning.twin_encode",
    summary="Sparse coding in torch reaches the objective and the support of the compiled coder.",
    statement=r"\big|F(c_{\text{torch}}) - F(c_{\text{compiled}})\big| \le 10^{-9} F(0), \quad"
    r" F(c) = \tfrac12 \|x - D^\top c\|^2 + \phi(c)",
    source=_TWIN,
    verdict=Always(1e-9),
    instances=_signals,
    evaluate=_active_set,
    # Gradient steps to the tolerance that suffices for most purposes.
    near_miss=partial(_codes, solver="fista", tol=1e-4),
)


def _draw_planted(seed: int, count: int, noise: float) -> Targets:
    """Draw nearly orthonormal columns and few coefficients above 1, of which no correlation hides one.

    Columns overlap by some 0.02, so that a column outside the support has a correlation below 0.3 with the target and
    below 0.1 with the residual.
    """
    rng = np.random.default_rng(seed)
    X = np.linalg.qr(rng.standard_normal((60, 24)))[0] + 0.02 / np.sqrt(60) * rng.standard_normal((60, 24))
    planted = np.zeros((24, 2))
    for column in planted.T:
        column[rng.choice(24, count, replace=False)] = rng.choice([-1.0, 1.0], count) * rng.uniform(1.0, 2.0, count)
    return Targets(X, X @ planted + noise * rng.standard_normal((60, 2)), count)


def _planted() -> st.SearchStrategy[Targets]:
    return st.builds(_draw_planted, seeds, st.integers(1, 3), st.sampled_from([0.0, 1e-3, 1e-2]))


def _compare_thresholding(case: Targets, **options: Any) -> Measurement:
    gram, correlations = case.products()
    pattern = core.PerRow(case.n_nonzero)
    found = array(solvers.hard_thresholding(tensor(gram), tensor(correlations), pattern, **options).coef)
    expected = np.array([NIHT(case.n_nonzero, fit_intercept=False).fit(case.X, y).coef_ for y in case.Y.T])
    objectives = case.objectives(found), case.objectives(expected)
    return _alike(objectives, _differing(found, expected), case.scale)


def _thresholding(case: Targets) -> Measurement:
    """Compare residuals and supports of iterative hard thresholding in torch and of the compiled estimator.

    Where the columns are nearly orthogonal and the coefficients stand out, both have one fixed point, the least-squares
    fit on the planted columns.
    """
    return _compare_thresholding(case)


def _one_step(case: Targets) -> Measurement:
    """Threshold once, without a fit."""
    return _compare_thresholding(case, refit=False, max_iter=1)


twin_iht = Claim(
    name="layerwise_pruning.twin_iht",
    summary="Iterative hard thresholding in torch finds the planted fit of the compiled estimator.",
    statement=r"S_{\text{torch}} = S_{\text{compiled}}, \quad |f_{\text{torch}} - f_{\text{compiled}}|"
    r" \le 10^{-9} \|y\|^2 \quad \text{(planted coefficients)}",
    source=_TWIN,
    verdict=Always(1e-9),
    instances=_planted,
    evaluate=_thresholding,
    near_miss=_one_step,
)


def _swaps(layer: Layer, max_swaps: int | None = None) -> Measurement:
    """Compare the objectives and masks of both searches from the same mask.

    Both take the swap of the largest exact gain. Without ties they take the same ones.
    """
    start = tensor(layer.random_mask())
    found = solvers.swap_search(*layer.tensors, start, layer.pattern, max_swaps=max_swaps)
    expected = weights.swap_search(*layer.tensors, start, layer.pattern)
    differing = int((array(found.mask) != array(expected.mask)).sum())
    return _alike((array(found.objective), array(expected.objective)), differing, layer.scale)


_GENERIC: Sequence[str] = ("gaussian", "common factor", "walk", "scales", "few rows")

twin_swap = Claim(
    name="layerwise_pruning.twin_swap",
    summary="Swap search in torch ends at the masks of the compiled search.",
    statement=r"M_{\text{torch}} = M_{\text{compiled}}, \quad |f_{\text{torch}} - f_{\text{compiled}}|"
    r" \le 10^{-9}\, w^\top H w",
    source=_TWIN,
    verdict=Always(ROUNDING),
    instances=partial(layers, kinds=_GENERIC),
    evaluate=_swaps,
    near_miss=partial(_swaps, max_swaps=1),
)
