"""Claims about regressions with small l1 norm: what they lose where features hardly depend on each other."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bandits import SparseRegressionBandit
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.misspecified_bandits.instances import Searched, draw_bandit, seeds
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

# Linear programs and paths of the Lasso end within 1e-9 of what they look for, as a share of the largest reward.
_SOLVERS = 1e-6


class _Regressed(Searched[SparseRegressionBandit]):
    """A bandit, and a regression on random queries of it."""

    @property
    def X(self) -> Float64Array:
        """Features of the queries, with repetitions."""
        return self.bandit.features[self.end.log_.actions]

    def kappa(self, cone: float) -> float:
        r"""Return a lower bound of the restricted eigenvalue on :math:`|\Delta|_1 \le cone\, \sqrt{s}\, |\Delta|_2`.

        The smallest eigenvalue, or what is left of columns of equal length after their inner products:
        :math:`\Delta^T G \Delta \ge |\Delta|_2^2 - \mu |\Delta|_1^2`.
        """
        G = self.X.T @ self.X / len(self.X)
        smallest = float(np.linalg.eigvalsh(G)[0])
        off = float(np.abs(G - np.diag(np.diag(G))).max())
        coherent = 1 - cone**2 * self.bandit.n_nonzero * off if np.allclose(np.diag(G), 1.0, atol=1e-12) else 0.0
        return max(smallest, coherent)

    @property
    def l1_error(self) -> float:
        """The l1 norm of the error of the coefficients."""
        return float(np.abs(self.end.theta_ - self.bandit.theta).sum())

    def chain(self, l1_bound: float) -> Measurement:
        """Compare the error with its bound, and the gap that unseen rewards can cause with what follows from it."""
        bandit = self.bandit
        largest = float(np.abs(bandit.features).max())
        measured = Measurement(self.l1_error, l1_bound, np.abs(bandit.theta).sum() + bandit.eps)
        return measured.and_chain({"gap": self.gap, "2 eps + 2 b |error|": 2 * bandit.eps + 2 * largest * l1_bound})


def _regress(kind: str, error: str, d: int, s: int, n: int, eps: float, seed: int, **options: Any) -> _Regressed:
    bandit = draw_bandit(kind, error, 120, d, s, eps, 1.0, seed)
    search = SparseRegressionBandit(bandit.n_nonzero, eps=bandit.eps, n_samples=n, random_state=seed, **options)
    return _Regressed(bandit, search)


def _regressions(*estimators: str) -> st.SearchStrategy[_Regressed]:
    return st.builds(
        _regress,
        st.sampled_from(["gauss", "correlated", "signs", "integers", "blocks"]),
        st.sampled_from(["uniform", "sign", "confusing", "low"]),
        st.integers(2, 10),
        st.integers(1, 3),
        st.integers(12, 120),
        st.sampled_from([1e-3, 0.03, 0.3]),
        seeds,
        estimator=st.sampled_from(estimators),
        exploration=st.sampled_from(["uniform", "design", "e_optimal"]),
    )


def _constrained(regressed: _Regressed, *, curved: bool = True) -> Measurement:
    r"""Compare the l1 error of a constrained estimate with :math:`4\, eps\, (s / \kappa)^{1/2}`.

    The truth is within the constraint, so the estimate has no larger norm, and :math:`|\Delta_{S^c}|_1 \le
    |\Delta_S|_1`. Both residuals have at most eps in root mean square: :math:`\kappa |\Delta|_2^2 \le 4\, eps^2`. And
    :math:`|\Delta|_1 \le 2 s^{1/2} |\Delta|_2`.
    """
    kappa = regressed.kappa(2.0) if curved else 1.0
    s, eps = regressed.bandit.n_nonzero, regressed.bandit.eps
    return regressed.chain(4 * eps * math.sqrt(s / kappa) if kappa > 1e-9 else np.inf)


constrained_regression = Claim(
    name="misspecified_bandits.constrained_regression",
    summary="The smallest l1 norm that agrees with the answers loses eps times the root of s, for good features.",
    statement=r"|\hat\theta - \theta^*|_1 \le 4\, \varepsilon \sqrt{s / \kappa}, \quad"
    r" \max_a r_a - r_{\hat a} \le 2\, \varepsilon + 8\, b\, \varepsilon \sqrt{s / \kappa}",
    source=Source.ours("the usual argument for constrained l1 regression, with errors of bounded size"),
    verdict=Always(_SOLVERS),
    instances=lambda: _regressions("linf", "bpdn"),
    evaluate=_constrained,
    # As if all features were good.
    near_miss=lambda regressed: _constrained(regressed, curved=False),
)


def _penalised(regressed: _Regressed, *, curved: bool = True) -> Measurement:
    r"""Compare the l1 error of the Lasso with :math:`12\, s \lambda / \kappa`, and that with one of b and eps.

    Here :math:`\lambda = 2\,eps\, \max_j n^{-1} |X_j|_1`, which is at least twice :math:`|X^T \nu|_\infty / n` and at
    most 2 b eps. So :math:`|\Delta_{S^c}|_1 \le 3 |\Delta_S|_1`, and :math:`\Delta^T G \Delta` is at most
    :math:`3 \lambda |\Delta_S|_1`.
    """
    kappa, bandit = regressed.kappa(4.0) if curved else 1.0, regressed.bandit
    alpha = 2 * bandit.eps * float(np.abs(regressed.X).mean(axis=0).max())
    if kappa <= 1e-9:
        return regressed.chain(np.inf)
    worst = 24 * float(np.abs(bandit.features).max()) * bandit.n_nonzero * bandit.eps / kappa
    bound = 12 * bandit.n_nonzero * alpha / kappa
    return regressed.chain(bound).and_chain({"12 s lambda / kappa": bound, "24 b s eps / kappa": worst})


penalised_regression = Claim(
    name="misspecified_bandits.penalised_regression",
    summary="The Lasso loses eps times s, for good features.",
    statement=r"\lambda \ge 2 \|X^T \nu / n\|_\infty \implies |\hat\theta - \theta^*|_1 \le 12\, s \lambda / \kappa"
    r" \le 24\, b s\, \varepsilon / \kappa",
    source=Source.classic("Bickel, Ritov, Tsybakov (2009)", "the Lasso under a restricted eigenvalue"),
    verdict=Always(_SOLVERS),
    instances=lambda: _regressions("lasso"),
    evaluate=_penalised,
    near_miss=lambda regressed: _penalised(regressed, curved=False),
)


def _drawing(samples: float) -> Callable[[np.random.Generator, float], _Regressed]:
    """Draw signs as features, and a number of queries in units of s log(d)."""

    def draw(rng: np.random.Generator, d: float) -> _Regressed:
        error, s = str(rng.choice(["uniform", "confusing"])), int(rng.choice([2, 4, 8]))
        bandit = draw_bandit("signs", error, 1000, int(d), s, 0.05, 1.0, int(rng.integers(2**32)))
        n = math.ceil(samples * s * math.log(d))
        return _Regressed(bandit, SparseRegressionBandit(s, eps=bandit.eps, n_samples=n, random_state=bandit.seed))

    return draw


def _few_samples(name: str, samples: float, most: float) -> Claim:
    def ratio(regressed: _Regressed, power: float = 0.5) -> Measurement:
        """Compare the largest error of a prediction, in units of eps and a power of s, with a constant."""
        bandit = regressed.bandit
        errors = np.abs(bandit.features @ (regressed.end.theta_ - bandit.theta))
        return Measurement(float(errors.max()) / (bandit.eps * bandit.n_nonzero**power), most)

    return Claim(
        name=f"misspecified_bandits.{name}",
        summary=f"For random signs {samples:g} s log(d) queries predict all rewards up to {most:g} eps times the root"
        " of s.",
        statement=rf"n = \lceil {samples:g} s \log d \rceil \implies |\phi_a^T (\hat\theta - \theta^*)| \le {most:g}\,"
        r" \varepsilon \sqrt s \text{ for all } a",
        source=Source.measured("constrained l1 regression on random signs"),
        verdict=WithProbability(0.95, margin=0.15),
        evaluate=ratio,
        # Errors that fall with the number of non-zeros.
        near_miss=lambda regressed: ratio(regressed, power=-1.0),
        sweep=Sweep(
            axis="features d",
            values=(50.0, 100.0, 200.0, 400.0),
            quick_values=(50.0, 100.0),
            draw=_drawing(samples),
            trials=100,
            quick_trials=30,
            log="x",
            measured_label="largest error over eps sqrt(s)",
            bound_label="claimed",
        ),
    )


few_samples = _few_samples("few_samples", 4, 3.0)
fewer_samples = _few_samples("fewer_samples", 2, 7.0)
