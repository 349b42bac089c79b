"""Claims about linear models in random subspaces: what training sees, and what measurements by the same matrix tell."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.intrinsic_dimension.projections.kinds import KINDS, Case
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

# Ten steps, each a product with matrices of moderate norm.
_ROUNDING = 1e-10
_STEPS, _SAMPLES = 10, 20


@dataclass(frozen=True)
class Regression:
    """Least squares with the coefficients in a random subspace."""

    case: Case

    @property
    def data(self) -> tuple[Float64Array, Float64Array]:
        """Design and targets."""
        rng = np.random.default_rng([1, self.case.seed])
        return rng.standard_normal((_SAMPLES, self.case.D)), rng.standard_normal(_SAMPLES)

    @property
    def step_size(self) -> float:
        """A step at which descent converges."""
        return float(1 / np.linalg.norm(self.data[0], 2) ** 2 / self.case.d)

    def trained(self) -> Float64Array:
        """Return the predictions after some steps of gradients through the projection."""
        import torch

        X, y = map(tensor, self.data)
        t = torch.zeros(self.case.d, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([t], lr=self.step_size)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            ((X @ self.case.map.apply(t) - y).square().sum() / 2).backward()
            optimizer.step()
        return array(X @ self.case.map.apply(t.detach()))

    def descended(self, preconditioner: Float64Array) -> Float64Array:
        """Return the predictions after as many steps of all coefficients, whose gradients a matrix multiplies."""
        X, y = self.data
        coef = np.zeros(self.case.D)
        for _ in range(_STEPS):
            coef -= self.step_size * preconditioner @ X.T @ (X @ coef - y)
        return X @ coef

    def sketched(self) -> Float64Array:
        """Return the predictions after as many steps of least squares on the sketched design ``X @ P``."""
        (X, y), P = self.data, self.case.matrix
        t = np.zeros(self.case.d)
        for _ in range(_STEPS):
            t -= self.step_size * (X @ P).T @ (X @ P @ t - y)
        return X @ P @ t


def _same_path(problem: Regression) -> Measurement:
    trained, scale = problem.trained(), float(np.linalg.norm(problem.data[1]))
    P = problem.case.matrix
    gaps = [np.abs(trained - other).max() for other in (problem.sketched(), problem.descended(P @ P.T))]
    return Measurement(float(max(gaps)), 0.0, scale)


def _projected_gradient(problem: Regression) -> Measurement:
    """Take the orthogonal projection onto the subspace instead of P P^T."""
    onto = problem.case.matrix @ np.linalg.pinv(problem.case.matrix)
    gap = np.abs(problem.trained() - problem.descended(onto)).max()
    return Measurement(float(gap), 0.0, float(np.linalg.norm(problem.data[1])))


sketched_least_squares = Claim(
    name="intrinsic_dimension.sketched_least_squares",
    summary="Training a linear model in a random subspace is least squares on a sketched design, step by step.",
    statement=r"\theta_{k+1} = \theta_k - \eta P P^\top X^\top (X \theta_k - y) = P t_{k+1},"
    r" \quad t_{k+1} = t_k - \eta (X P)^\top (X P t_k - y)",
    source=Source.ours("gradients through a linear map"),
    verdict=Always(rtol=_ROUNDING),
    instances=lambda: st.integers(1, 30).flatmap(
        lambda D: st.builds(Regression, st.builds(Case, st.sampled_from(KINDS), st.integers(1, D), st.just(D), seeds))
    ),
    evaluate=_same_path,
    near_miss=_projected_gradient,
)

_FEATURES, _NONZERO = 500, 5


def _sparse_change(rng: np.random.Generator, d: float) -> tuple[str, int, int]:
    return KINDS[int(rng.integers(3))], int(d), int(rng.integers(2**31))


def _change(seed: int) -> Float64Array:
    rng = np.random.default_rng([2, seed])
    change = np.zeros(_FEATURES)
    change[rng.choice(_FEATURES, _NONZERO, replace=False)] = rng.choice([-1.0, 1.0], _NONZERO)
    return change * rng.uniform(1, 2, _FEATURES)


def _measured(instance: tuple[str, int, int]) -> Measurement:
    """Recover a sparse change of the parameters from its d products with the columns, by orthogonal matching pursuit.

    At once the distance of the change from the subspace is what training in it cannot undercut.
    """
    from sparsetheory.gpu import solvers

    kind, d, seed = instance
    case, change = Case(kind, d, _FEATURES, seed), _change(seed)
    P = case.matrix
    found = solvers.omp_gram(tensor(P @ P.T), tensor(P @ case.adjoint(change)), n_nonzero=_NONZERO)
    error = float(np.linalg.norm(array(found) - change) / np.linalg.norm(change))
    return Measurement(error, 1e-6, extras={"nearest point of the subspace": _distance(P, change)})


def _distance(P: Float64Array, change: Float64Array) -> float:
    nearest = P @ np.linalg.lstsq(P, change, rcond=None)[0]
    return float(np.linalg.norm(nearest - change) / np.linalg.norm(change))


def _trained(instance: tuple[str, int, int]) -> Measurement:
    """Expect training in the subspace to find the sparse change."""
    kind, d, seed = instance
    return Measurement(_distance(Case(kind, d, _FEATURES, seed).matrix, _change(seed)), 1e-6)


sparse_change_measured = Claim(
    name="intrinsic_dimension.sparse_change_measured",
    summary="Few products with the columns determine a sparse change of parameters that is far from the subspace.",
    statement=r"\|\theta - \theta_0\|_0 = 5, \; D = 500, \; d \ge 160:"
    r" \quad \operatorname{OMP}(P^\top, P^\top (\theta - \theta_0)) = \theta - \theta_0",
    source=Source(
        "Tropp, Gilbert, Signal Recovery From Random Measurements Via Orthogonal Matching Pursuit, 2007",
        "order of d; the constant is measured here",
        provenance="measured",
    ),
    verdict=WithProbability(0.95, margin=0.2),
    evaluate=_measured,
    near_miss=_trained,
    sweep=Sweep(
        axis="measurements, or dimensions of the subspace",
        values=(160.0, 240.0),
        draw=_sparse_change,
        trials=100,
        quick_trials=30,
        log="y",
        measured_label="error of matching pursuit",
        bound_label="recovered",
        y_label="relative error",
    ),
)
