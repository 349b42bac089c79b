"""Collections drawn at once from the law of their sums, and the errors of what is fitted to them."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sparsetheory.privacy.collection.moments import ReleasedMoments
from sparsetheory.privacy.device.schema import GAUSSIAN, LDPSchema
from sparsetheory.privacy.planning.simulation import simulate_aggregate
from sparsetheory.privacy.solvers.problem import MomentProblem, moment_problem
from sparsetheory.privacy.solvers.solution import Solution, SolverSettings, solve
from sparsetheory.privacy.solvers.weights import balanced_weight
from sparsetheory.typing import Float64Array

__all__ = ["NOISE_STD", "ZERO", "Fitted", "Problem", "fitted", "root_mean_square", "schema_of", "settings_of"]

NOISE_STD = 0.5
# The name of a curve that every figure of a private error shows: the norm of the coefficients.
ZERO = "answering zero"


@dataclass(frozen=True)
class Problem:
    """Normal features of unit variance, and coefficients of norm one, equal in size, at random places.

    Parameters
    ----------
    n, d, k : int
        Users, features and non-zero coefficients.
    eps : float
    mechanism, solver : str
    correlation : float
        Of neighbouring features; those further apart have powers of it.
    public : bool
        Whether the covariance is public.
    clips : mapping
        Bounds of features and response; by default they are those of the planner.
    alpha : float, optional
        Threshold of the solver in the unit of the response; the one that knows the noise by default.
    """

    n: int
    d: int
    k: int
    eps: float
    mechanism: str
    solver: str = "moment_iht"
    correlation: float = 0.0
    public: bool = False
    clips: dict[str, Any] = field(default_factory=dict)
    alpha: float | None = None

    def covariance(self) -> Float64Array:
        """Return the covariance of the features."""
        places = np.arange(self.d)
        return np.asarray(self.correlation ** np.abs(np.subtract.outer(places, places)), dtype=float)

    def coefficients(self, rng: np.random.Generator) -> Float64Array:
        """Draw coefficients."""
        coef = np.zeros(self.d)
        coef[rng.choice(self.d, self.k, replace=False)] = rng.choice([-1.0, 1.0], self.k) / math.sqrt(self.k)
        return coef


@dataclass(frozen=True, eq=False)
class Fitted:
    """The truth, what was released of it, and the solution.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
        The true coefficients.
    problem : MomentProblem
        Without the unit of the response.
    solution : Solution
        Likewise.
    unit : float
        Of the response.
    """

    coef: Float64Array
    problem: MomentProblem
    solution: Solution
    unit: float

    @property
    def error(self) -> float:
        """Distance of the solution from the truth."""
        return float(np.linalg.norm(self.unit * self.solution.coef - self.coef))


def schema_of(problem: Problem) -> LDPSchema:
    """Return the schema of a collection. Gaussian mechanisms have delta = 1e-6, which moves constants alone."""
    schema = LDPSchema(
        mechanism=problem.mechanism,
        eps=problem.eps,
        delta=1e-6 if problem.mechanism in GAUSSIAN else 0.0,
        n_features=problem.d,
        moments="cross" if problem.public else "joint",
        **{
            "clip_x": math.sqrt(problem.d) + 2.5,
            "clip_entries": 3.0 if problem.mechanism in ("paper", "onebit") else None,
            "clip_y": 3 * math.hypot(1.0, NOISE_STD),
            **problem.clips,
        },
    )
    return replace(schema, response_weight=balanced_weight(schema, 1.0))


def settings_of(problem: Problem, unit: float) -> SolverSettings:
    """Return the settings of a solver that knows the norm of the coefficients and the largest eigenvalue."""
    return SolverSettings(
        solver=problem.solver,
        n_nonzero=problem.k,
        n_kept=min(2 * problem.k, problem.d),
        n_steps=60,
        alpha=None if problem.alpha is None else problem.alpha / unit,
        norm_bound=1.0 / unit,
        largest_eigenvalue=float(np.linalg.eigvalsh(problem.covariance())[-1]) if problem.correlation else 1.0,
        eigenvalue_floor=0.1,
        confidence=0.95,
        tol=1e-8,
    )


def fitted(problem: Problem, rng: np.random.Generator) -> Fitted:
    """Draw a collection and solve it."""
    schema, coef, covariance = schema_of(problem), problem.coefficients(rng), problem.covariance()
    moments: ReleasedMoments = simulate_aggregate(problem.n, covariance, coef, NOISE_STD, schema, random_state=rng)
    released = moment_problem(schema, moments, covariance if problem.public else None)
    solution = solve(released, settings_of(problem, schema.clip_y))
    return Fitted(coef, released, solution, schema.clip_y)


def root_mean_square(problem: Problem, rng: np.random.Generator, repetitions: int) -> float:
    """Return the root mean square error over several collections."""
    return math.sqrt(np.mean([fitted(problem, rng).error ** 2 for _ in range(repetitions)]))
