"""Exact statements about the second half of a layer: proximal gradient steps towards non-negative sparse codes."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_ROUNDING = 1e-11
_PAPER = "Yu et al., White-box transformers via sparse rate reduction (2023)"


@dataclass(frozen=True, eq=False)
class Coding:
    """Tokens, a dictionary with atoms as rows, and the strength of the penalty."""

    Z: Float64Array
    D: Float64Array
    alpha: float

    @property
    def step(self) -> float:
        """The longest step with a guarantee."""
        return 1.0 / float(np.linalg.norm(self.D, 2)) ** 2

    def codes(self, step_size: float, alpha: float | None = None, n_iter: int = 1) -> Float64Array:
        """Return the codes of the layer."""
        alpha = self.alpha if alpha is None else alpha
        found = representation.ista_block(tensor(self.Z), tensor(self.D), step_size, alpha, n_iter)
        return np.asarray(array(found))

    def objective(self, C: Float64Array) -> float:
        """Return the objective, summed over tokens."""
        return float(representation.ista_objective(tensor(C), tensor(self.Z), tensor(self.D), self.alpha).sum())


def _draw(seed: int, dim: int, kind: str, alpha: float) -> Coding:
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((dim, dim)) / np.sqrt(dim)
    if kind == "orthogonal":
        D = np.linalg.qr(D)[0]
    elif kind == "singular":
        D[-1] = D[0]
    elif kind == "scales":
        D *= np.exp(2 * rng.standard_normal((dim, 1)))
    return Coding(rng.standard_normal((4, dim)), np.ascontiguousarray(D), alpha)


def _codings(*kinds: str) -> st.SearchStrategy[Coding]:
    chosen = st.sampled_from(kinds or ("gaussian", "orthogonal", "singular", "scales"))
    return st.builds(_draw, seeds, st.integers(2, 8), chosen, st.sampled_from((0.0, 0.05, 0.5)))


def _descends(case: Coding, factor: float) -> Measurement:
    """Compare the objective after each step with that before, from the first non-negative codes on."""
    values = [case.objective(case.codes(factor * case.step, n_iter=n)) for n in range(1, 7)]
    return Measurement.worst(values[1:], values[:-1], scale=1.0 + values[0])


coding_descent = Claim(
    name="sparse_representation.coding_descent",
    summary="Steps of the sparse coding never raise the objective, from the first non-negative codes on.",
    statement=r"\eta \le 1 / \|D\|_2^2 \;\Rightarrow\; \tfrac12 \|X - D Z_{t+1}\|^2 + \lambda \|Z_{t+1}\|_1"
    r" \le \tfrac12 \|X - D Z_t\|^2 + \lambda \|Z_t\|_1, \quad t \ge 1",
    source=Source.classic("Beck and Teboulle (2009)", "descent of proximal gradient steps"),
    verdict=Always(_ROUNDING),
    instances=_codings,
    evaluate=lambda case: _descends(case, 1.0),
    near_miss=lambda case: _descends(case, 3.0),
)


def _solved(seed: int, dim: int, alpha: float) -> tuple[Coding, Float64Array]:
    """Return a problem and its only solution, from the conditions of optimality.

    Codes C are optimal if ``alpha - (Z - C D) D^T`` is zero where they are not, and at least zero elsewhere. Codes and
    slopes are drawn, and tokens are solved for. The condition number of the dictionary is at most 2.
    """
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((dim, dim)))[0] for _ in range(2))
    D = left * rng.uniform(0.5, 1.0, dim) @ right
    active = rng.random((4, dim)) < 0.5
    C = np.where(active, rng.uniform(0.1, 2.0, active.shape), 0.0)
    slope = np.where(active, 0.0, rng.uniform(0.0, 1.0, active.shape))
    Z = C @ D + (alpha - slope) @ np.linalg.inv(D.T)
    return Coding(Z, D, alpha), C


def _limit(drawn: tuple[Coding, Float64Array], factor: float) -> Measurement:
    """Compare codes after many steps with the solution; each step divides the distance by at least 4/3."""
    case, C = drawn
    found = case.codes(case.step, factor * case.alpha, n_iter=100)
    return Measurement(float(np.abs(found - C).max()), 0.0, 1.0)


coding_limit = Claim(
    name="sparse_representation.coding_limit",
    summary="Many steps of the sparse coding lead to the Lasso with non-negative coefficients, penalty included.",
    statement=r"Z_t \to \arg\min_{Z \ge 0} \tfrac12 \|X - D Z\|^2 + \lambda \|Z\|_1",
    source=Source(_PAPER, "equation 17; equation 16 leaves out the factor 1/2, the near miss", "2306.01129", "ours"),
    verdict=Always(1e-9),
    instances=lambda: st.builds(_solved, seeds, st.integers(1, 8), st.sampled_from((0.05, 0.5))),
    evaluate=lambda drawn: _limit(drawn, 1.0),
    near_miss=lambda drawn: _limit(drawn, 0.5),
)


def _closed(case: Coding, *, transposed: bool) -> Measurement:
    """Compare one step with closed forms: of length 0, and of length 1 for an orthogonal dictionary."""
    still = case.codes(0.0, 0.0) - np.maximum(case.Z, 0.0)
    expected = np.maximum(case.Z @ (case.D if transposed else case.D.T) - case.alpha, 0.0)
    moved = case.codes(1.0) - expected
    return Measurement.worst([np.abs(still).max(), np.abs(moved).max()], [0.0, 0.0], 1.0)


coding_closed_forms = Claim(
    name="sparse_representation.coding_closed_forms",
    summary="A step of length 0 is ReLU; with an orthogonal dictionary one of length 1 soft-thresholds coefficients.",
    statement=r"\eta = \lambda = 0: Z_1 = \max(X, 0); \quad"
    r" D^T D = I,\ \eta = 1: Z_1 = \max(D^T X - \lambda, 0)",
    source=Source(_PAPER, "equation 17, special cases", "2306.01129", "ours"),
    verdict=Always(1e-13),
    instances=lambda: _codings("orthogonal"),
    evaluate=lambda case: _closed(case, transposed=False),
    near_miss=lambda case: _closed(case, transposed=True),
)
