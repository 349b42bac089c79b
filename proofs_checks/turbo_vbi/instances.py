"""Small random problems with random hyper-parameters, and the sources that the claims cite."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior, SupportPrior
from sparsetheory.bayesian.markov.support_priors_grid import RowsPrior
from sparsetheory.bayesian.turbo.elbo import InitialFactors, TurboState
from sparsetheory.bayesian.turbo.model import NoiseFactor, TurboModel
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.bayesian.turbo.sparse_prior import SparsePrior
from sparsetheory.bayesian.turbo.sweep import turbo_sweep
from sparsetheory.proofs_checks.claim import Source
from sparsetheory.typing import AnyArray

__all__ = ["Case", "cases", "draw_case", "ours"]

_N = 12


def ours(item: str) -> Source:
    """Cite a derivation of this package for the model of Liu et al. (2020), given in the measurement's docstring."""
    return Source.ours(f"{item} (model of Liu et al., doi:10.1109/TWC.2020.2971193)")


@dataclass(frozen=True, eq=False)
class Case:
    """A problem with priors and a start.

    Parameters
    ----------
    problem, model, prior, start
        What a sweep takes.
    rng_seed : int
        Seed of whatever a claim draws besides.
    """

    problem: TurboProblem
    model: TurboModel
    prior: SupportPrior
    start: InitialFactors
    rng_seed: int

    def rng(self) -> np.random.Generator:
        """Return a fresh generator; the same one each time."""
        return np.random.default_rng(self.rng_seed)

    def sweep(
        self,
        state: InitialFactors | TurboState | None = None,
        *,
        model: TurboModel | None = None,
        prior: SupportPrior | None = None,
    ) -> TurboState:
        """Sweep once, from the start by default, with another model or prior if given."""
        return turbo_sweep(self.problem, model or self.model, prior or self.prior, state or self.start)


def draw_problem(rng: np.random.Generator, m: int, complex_data: bool, n_snapshots: int) -> TurboProblem:
    """Draw data of a sparse model."""
    shape = (m, _N)
    F: AnyArray = rng.standard_normal(shape)
    X: AnyArray = rng.standard_normal((_N, n_snapshots)) * (rng.random((_N, 1)) < 0.3)
    noise: AnyArray = rng.standard_normal((m, n_snapshots))
    if complex_data:
        F = F + 1j * rng.standard_normal(shape)
        X = X * np.exp(2j * np.pi * rng.random(X.shape))
        noise = noise + 1j * rng.standard_normal(noise.shape)
    Y = F @ X + 10 ** rng.uniform(-2, 0) * noise
    return TurboProblem(np.asfortranarray(F), np.asfortranarray(Y), float(m), np.arange(_N), _N)


def draw_case(
    seed: int, m: int, complex_data: bool, factorisation: str, prior: str, learn_noise: bool, n_snapshots: int
) -> Case:
    """Draw a case.

    Parameters
    ----------
    seed : int
        Everything is drawn from it.
    m, n_snapshots : int
        Observations of 12 coefficients.
    complex_data, learn_noise : bool
    factorisation : {"collapsed", "meanfield"}
    prior : {"iid", "chain", "lines", "rows"}
        Independent, one chain with an initial law of its own, three chains, or a grid of three rows in the mean.
    """
    rng = np.random.default_rng(seed)
    problem = draw_problem(rng, m, complex_data, n_snapshots)
    a, a_off, b, c, d = np.exp(rng.uniform(-2, 2, 5))
    sparse = SparsePrior(
        on_shape=a,
        on_rate=b,
        off_shape=a_off,
        off_rate_ratio=a_off / a * 10 ** rng.uniform(-6, -0.5),
        noise_shape=c,
        noise_rate=d,
    )
    noise_variance: float | str = "learn" if learn_noise else float(rng.uniform(0.01, 1))
    model = sparse.model(problem, 0.2, noise_variance=noise_variance, factorisation=factorisation)
    p01, p10 = rng.uniform(0.02, 0.9, 2)
    priors: dict[str, SupportPrior] = {
        "iid": IndependentPrior(p01),
        "chain": ChainPrior(p01, p10, (1, _N), initial=0.3),
        "lines": ChainPrior(p01, p10, (3, _N // 3)),
        "rows": RowsPrior(p01, p10, (3, _N // 3), max_iter=2),
    }
    belief = priors[prior].update(np.zeros(_N), None)
    noise = NoiseFactor.known(1.0 if model.noise_precision is None else model.noise_precision)
    start = InitialFactors(np.exp(rng.standard_normal(_N)), noise, belief)
    return Case(problem, model, priors[prior], start, int(rng.integers(2**31)))


def cases(
    factorisations: tuple[str, ...] = ("collapsed", "meanfield"),
    priors: tuple[str, ...] = ("chain", "iid", "lines", "rows"),
    complex_data: tuple[bool, ...] = (False, True),
    learn_noise: tuple[bool, ...] = (False, True),
) -> st.SearchStrategy[Case]:
    """Search cases of given kinds."""
    return st.builds(
        draw_case,
        st.integers(0, 2**32 - 1),
        st.integers(2, 15),
        st.sampled_from(complex_data),
        st.sampled_from(factorisations),
        st.sampled_from(priors),
        st.sampled_from(learn_noise),
        st.integers(1, 2),
    )
