"""Claims about what answers prove: supports that survive, the misspecification, and the gap at every step."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st
from sklearn.base import clone

from sparsetheory.bandits import (
    ESTC,
    AdaptiveSupportSearch,
    CoreSetBandit,
    LinUCB,
    PhasedElimination,
    SparseRegressionBandit,
    SupportDesignNet,
    SupportGreedy,
    SupportNetSearch,
    estimate_eps,
    iter_supports,
    screen_supports,
)
from sparsetheory.bandits.algorithms.base import BanditAlgorithm
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.misspecified_bandits.instances import (
    Searched,
    SparseBandit,
    bandits,
    seeds,
    whatever_the_bound,
)
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array, IndexArray

# Certificates allow for rounding themselves; rewards are sums of a few products.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class _Answers:
    """Rows, answers that are within eps of a linear function on a support, and a size of supports to look at."""

    X: Float64Array
    y: Float64Array
    true: IndexArray
    eps: float
    n_nonzero: int
    with_rows: bool

    def __repr__(self) -> str:
        """Show shapes and sizes."""
        return f"_Answers(of shape {self.X.shape}, true={self.true.tolist()}, s={self.n_nonzero}, eps={self.eps:.3g})"

    def survivors(self, eps: float) -> set[tuple[int, ...]]:
        """Return the supports that survive if `eps` is believed."""
        X, y = self.X, self.y
        more: dict[str, Any] = {"rows": X, "rewards": y} if self.with_rows else {}
        kept = screen_supports(X.T @ X, X.T @ y, float(y @ y), len(y), self.n_nonzero, eps, **more)
        return {tuple(map(int, support)) for support in kept}


def _answers(kind: str, n: int, d: int, k: int, more: int, exponent: float, with_rows: bool, seed: int) -> _Answers:
    """Draw features that cancel at distances down to 1e-7, copies, zeros, low ranks; errors have the size eps."""
    rng, k = np.random.default_rng(seed), min(k, d)
    X, theta = rng.standard_normal((n, d)), rng.standard_normal(k)
    true = np.sort(rng.choice(d, k, replace=False))
    if kind == "cancelling" and k > 1:
        distance = 10.0 ** rng.uniform(-7, -1)
        X[:, true[1]] = X[:, true[0]] + distance * X[:, true[1]]
        theta[:2] = np.array([1.0, -1.0 + distance * theta[1]]) / distance
    elif kind == "copies":
        X = X[:, rng.integers(0, max(1, d // 2), d)]
    elif kind == "zeros":
        X[:, rng.random(d) < 0.4] = 0.0
    elif kind == "low rank":
        X = X[:, :2] @ rng.standard_normal((X[:, :2].shape[1], d))
    units = 10.0 ** rng.integers(-3, 4, d)
    signal = X[:, true] @ theta
    eps = 10.0**exponent * max(float(np.linalg.norm(signal)), 1e-3)
    # What is left of 1 covers the rounding of the signal, whose terms may be 1e7 times as large.
    error = rng.choice([-1.0, 1.0], n) * eps * (1 - 1e-9)
    return _Answers(X * units, signal + error, true, eps, min(d, k + more), with_rows)


def _all_answers() -> st.SearchStrategy[_Answers]:
    kinds = st.sampled_from(["cancelling", "cancelling", "gauss", "copies", "zeros", "low rank"])
    numbers = st.integers(3, 30), st.integers(1, 7), st.integers(1, 3), st.integers(0, 2)
    return st.builds(_answers, kinds, *numbers, st.floats(-8, -0.5), st.booleans(), seeds)


def _lost(answers: _Answers, share: float = 1.0) -> Measurement:
    r"""Count supports that hold the true one and were discarded.

    Least squares on such a support leave at most what the true coefficients leave: :math:`n\,eps^2`.
    """
    d = answers.X.shape[1]
    holding = {M for M in iter_supports(d, answers.n_nonzero) if set(answers.true.tolist()) <= set(M)}
    return Measurement(float(len(holding - answers.survivors(share * answers.eps))), 0.0, 1.0)


true_support_survives = Claim(
    name="misspecified_bandits.true_support_survives",
    summary="Screening discards no support that holds the true one, even where huge coefficients cancel.",
    statement=r"\mathrm{supp}\, \theta^* \subseteq M \implies \min_\theta \|y - X_M \theta\|^2 \le n\, \varepsilon^2,"
    r" \text{ and } M \text{ survives}",
    source=Source.ours("residual sums of squares, with an allowance for rounding"),
    verdict=Always(0.0),
    instances=_all_answers,
    evaluate=_lost,
    # The variance of uniform errors in place of their largest square.
    near_miss=lambda answers: _lost(answers, share=3**-0.5),
)


def _lower_bound(answers: _Answers) -> Measurement:
    r"""Compare the lower bound with the true misspecification, and with the residuals of the function that was found.

    Weights with :math:`|\lambda|_1 = 1` that are orthogonal to the features of a support give :math:`\lambda^T y \le
    |y - X \theta|_\infty` for all coefficients. The least over all supports is no more than on the true one.
    """
    size = float(np.abs(answers.y).max())
    found = estimate_eps(answers.X, answers.y, len(answers.true))
    return Measurement(found.eps_lower, answers.eps, size).and_chain(
        {"proved": found.eps_lower, "attained": found.sup_residual}
    )


def _of_least_squares(answers: _Answers) -> Measurement:
    """Take the largest residual of least squares for a lower bound."""
    residuals = []
    for support in map(list, iter_supports(answers.X.shape[1], len(answers.true))):
        columns = answers.X[:, support] / np.maximum(np.abs(answers.X[:, support]).max(axis=0), 1e-300)
        residuals.append(np.abs(answers.y - columns @ np.linalg.lstsq(columns, answers.y, rcond=1e-13)[0]).max())
    return Measurement(float(min(residuals)), answers.eps, float(np.abs(answers.y).max()))


eps_lower_bound = Claim(
    name="misspecified_bandits.eps_lower_bound",
    summary="What the answers prove about the misspecification is never more than the truth.",
    statement=r"\min_{|M| = s} \min_\theta \|y - X_M \theta\|_\infty \le \varepsilon",
    source=Source.ours("linear programs on all supports, with their duals as proof"),
    verdict=Always(_ROUNDING),
    instances=_all_answers,
    evaluate=_lower_bound,
    near_miss=_of_least_squares,
)


class _Watched(Searched[BanditAlgorithm]):
    """A bandit, and a search of it that is asked after every answer what it can prove."""

    @cached_property
    def steps(self) -> list[tuple[float, float]]:
        """The largest possible gap of the best action so far, and what is proved of it, where something is."""
        search, problem = clone(self.search).start(self.bandit.features), self.bandit.problem()
        steps = []
        while (actions := search.ask(1)).size:
            with whatever_the_bound():
                search.tell(actions, problem.query(actions))
            steps.append(self._step(search))
        return [step for step in steps if np.isfinite(step[1])]

    def _step(self, search: BanditAlgorithm) -> tuple[float, float]:
        certificate = search.certificate_ if search.finished_ else search.certify()
        assert hasattr(certificate, "action")
        queried = np.unique(search.log_.actions)
        return self.bandit.worst_gap(queried, certificate.action), certificate.bound


_SEARCHES: tuple[Callable[[SparseBandit], BanditAlgorithm], ...] = (
    lambda bandit: CoreSetBandit(eps=bandit.eps),
    lambda bandit: SupportNetSearch(bandit.n_nonzero, eps=bandit.eps, rho=0.5, norm_bound=bandit.norm_bound),
    lambda bandit: SupportGreedy(bandit.n_nonzero, eps=bandit.eps),
    lambda bandit: SupportDesignNet(bandit.n_nonzero, eps=bandit.eps, screen=False),
    lambda bandit: AdaptiveSupportSearch(bandit.n_nonzero, eps=bandit.eps, target=bandit.eps or 1e-6, base="span"),
    lambda bandit: SparseRegressionBandit(bandit.n_nonzero, eps=bandit.eps, n_samples=12, random_state=bandit.seed),
    lambda bandit: PhasedElimination(60, noise_std=0.0, eps=bandit.eps, norm_bound=bandit.norm_bound),
    lambda bandit: ESTC(bandit.n_nonzero, horizon=40, noise_std=0.0, eps=bandit.eps, random_state=bandit.seed),
    lambda bandit: LinUCB(20, noise_std=0.0, eps=bandit.eps, norm_bound=bandit.norm_bound),
)


def _watched() -> st.SearchStrategy[_Watched]:
    drawn = bandits(max_actions=20, max_features=5, max_nonzero=2)
    return st.builds(lambda bandit, new: _Watched(bandit, new(bandit)), drawn, st.sampled_from(_SEARCHES))


def _steps(watched: _Watched, share: float = 1.0) -> Measurement:
    r"""Compare the largest possible gap of the best action so far with what is proved of it, after every answer.

    With rows X of the queried actions, least squares on a support err at an action by :math:`\sum_i (\phi^T X^+)_i
    \nu_i`, at most :math:`eps\, n^{1/2} |\phi^T X^+|`. The largest reward that this allows, on any support that the
    answers allow, less that of the best action so far, is proved. The truth is one of these supports.
    """
    gaps, proved = np.array(watched.steps).reshape(-1, 2).T
    return Measurement.worst(gaps, share * proved, watched.bandit.scale)


certificate_at_every_step = Claim(
    name="misspecified_bandits.certificate_at_every_step",
    summary="After every answer the gap of the best action so far is at most what is proved of it.",
    statement=r"\max_a r_a - r_{\hat a_t} \le \max_{M \text{ allowed}} \max_a \bigl(\phi_M(a)^T \hat\theta_M +"
    r" \varepsilon \sqrt t\, \|\phi_M(a)\|_{(X_M^T X_M)^+} + \varepsilon\bigr) - r_{\hat a_t} \text{ for all } t",
    source=Source.ours("upper bounds of rewards on all supports that the answers allow"),
    verdict=Always(_ROUNDING),
    instances=_watched,
    evaluate=_steps,
    near_miss=lambda watched: _steps(watched, share=0.9),
)
