"""Claims about updates of the variances: which never raise the cost, and what maximisation steps reach."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian import (
    SBL,
    KroneckerSBL,
    alternating_sweep,
    alternating_update,
    kron_posterior,
    newton_update,
    svd_update,
)
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.kronecker_sbl.instances import (
    Moments,
    Problem,
    moments,
    outer,
    paper,
    problems,
)
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# A cost is a sum of logarithms and a quadratic form, each solved with a condition number of at most about 1e6.
_COST = 1e-9
_ITERATIONS = 15
_Factors = list[Float64Array]


@dataclass(frozen=True, eq=False)
class _Run:
    """A problem, whether the noise is learned, and how many sweeps or which coupling."""

    problem: Problem
    learn: bool
    sweeps: int


def _runs() -> st.SearchStrategy[_Run]:
    return st.builds(_Run, problems(), st.booleans(), st.integers(1, 4))


def _largest_rise(path: Any) -> Measurement:
    costs = np.asarray(path)
    rises = np.diff(costs) / (1.0 + np.abs(costs[:-1]))
    return Measurement(float(rises.max(initial=-1.0)), 0.0, 1.0)


def _fit(run: _Run, **settings: Any) -> Any:
    noise = "learn" if run.learn else run.problem.noise
    model = KroneckerSBL(
        noise_variance=noise,
        relative_threshold=0.0,
        max_iter=_ITERATIONS,
        tol=0.0,
        inner_tol=0.0,
        max_inner_iter=run.sweeps,
        init=run.problem.variances,
        **settings,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(run.problem.dictionaries, run.problem.y)


def _descends(update: str) -> Callable[[_Run], Measurement]:
    def measure(run: _Run) -> Measurement:
        return _largest_rise(_fit(run, update=update).history_["cost"])

    return measure


def _without_root(run: _Run) -> Measurement:
    """Multiply by b / a instead of its square root: the fixed point is the same, the descent is lost."""
    problem, gammas = run.problem, run.problem.variances
    costs = []
    for _ in range(_ITERATIONS):
        p = kron_posterior(problem.dictionaries, problem.y, gammas, noise_variance=problem.noise)
        costs.append(p.cost)
        axes = [tuple(j for j in range(len(gammas)) if j != k) for k in range(len(gammas))]
        a, b = p.prior * p.q, p.prior * p.power
        gammas = [np.maximum(g * b.sum(axis=x) / a.sum(axis=x), 1e-60) for g, x in zip(gammas, axes, strict=True)]
    return _largest_rise(costs)


_ALTERNATING = "monotone cost with any number of sweeps per maximisation step, noise known or learned"
em_descent = Claim(
    name="kronecker_sbl.em_descent",
    summary="Alternating minimisation never raises the cost, however few sweeps a maximisation step takes.",
    statement=r"L_{r+1} \le L_r \text{ for alternating minimisation with any number } \ge 1 \text{ of sweeps}",
    source=Source.ours(_ALTERNATING),
    verdict=Always(_COST),
    instances=_runs,
    evaluate=_descends("am"),
    near_miss=_descends("svd"),
)
newton_descent = Claim(
    name="kronecker_sbl.newton_descent",
    summary="Newton's maximisation step never raises the cost.",
    statement=r"L_{r+1} \le L_r \text{ for the exact maximisation step}",
    source=Source.ours("monotone cost, maximisation step by Newton's method"),
    verdict=Always(_COST),
    instances=_runs,
    evaluate=_descends("newton"),
    near_miss=_descends("svd"),
)
mm_descent = Claim(
    name="kronecker_sbl.mm_descent",
    summary="The majorise-minimise update never raises the cost.",
    statement=r"L_{r+1} \le L_r \text{ for } t_k = \sqrt{\textstyle\sum b / \sum a},\ "
    r"\sigma^2 \to \sigma^2 \sqrt{\|D \hat y\|^2 / \mathrm{tr}\, D}",
    source=Source.ours(
        "majorise-minimise: the log determinant is concave, the data term is bounded by its quadratic form"
    ),
    verdict=Always(_COST),
    instances=_runs,
    evaluate=_descends("mm"),
    near_miss=_without_root,
)


def _coupled(run: _Run, step: str = "mm") -> Measurement:
    """Couple modes by random matrices without negative entries."""
    rng = run.problem.rng()
    coupling = [
        rng.uniform(0.0, 1.0, (A.shape[1],) * 2) + 0.01 if rng.random() < 0.7 else None
        for A in run.problem.dictionaries
    ]
    return _largest_rise(_fit(run, coupling=coupling, coupling_update=step).history_["cost"])


coupled_descent = Claim(
    name="kronecker_sbl.coupled_descent",
    summary="Pattern coupling by majorise-minimise never raises the cost.",
    statement=r"L_{r+1} \le L_r \text{ for } z \to z \sqrt{C^\top (b/g) / C^\top (a/g)},\ g = Cz,\ C \ge 0",
    source=Source.ours("pattern coupling by majorise-minimise: Jensen's inequality for 1 / (Cz)"),
    verdict=Always(_COST),
    instances=_runs,
    evaluate=_coupled,
    near_miss=lambda run: _coupled(run, "nnls"),
)


def _flat(run: _Run) -> Measurement:
    """Run both updates without structure on the Kronecker dictionary that is not formed."""
    noise, worst = "learn" if run.learn else run.problem.noise, []
    for update in ("em", "mm"):
        model = SBL(
            update, noise_variance=noise, relative_threshold=0.0, max_iter=_ITERATIONS, tol=0.0, init=run.problem.G
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            worst.append(_largest_rise(model.fit(run.problem.dictionaries, run.problem.y).history_["cost"]))
    return max(worst, key=lambda m: m.measured)


def _flat_without_variance(run: _Run) -> Measurement:
    """Forget the variance in the maximisation step: gamma = |mu|^2."""
    A, y, gamma, costs = run.problem.A, run.problem.y, run.problem.G, []
    for _ in range(_ITERATIONS):
        p = kron_posterior([A], y, [gamma], noise_variance=run.problem.noise)
        costs.append(p.cost)
        gamma = np.maximum(np.abs(p.mean) ** 2, 1e-60)
    return _largest_rise(costs)


flat_descent = Claim(
    name="kronecker_sbl.flat_descent",
    summary="Without structure, both classical updates never raise the cost.",
    statement=r"L_{r+1} \le L_r \text{ for } \gamma \to v + |\mu|^2 \text{ and for } \gamma \to \gamma |S| / \sqrt{q}",
    source=Source.classic("Wipf, Rao (2004); Wipf, Nagarajan (2010)", "monotone cost without structure"),
    verdict=Always(_COST),
    instances=_runs,
    evaluate=_flat,
    near_miss=_flat_without_variance,
)


def _objective(Lam: Any, factors: Any) -> float:
    G = outer(factors)
    return float(np.sum(np.log(G) + Lam / G))


def _sweep_objective(m: Moments, update: Callable[[Any, Any], Any]) -> Measurement:
    before = _objective(m.second_moment, m.variances)
    return Measurement(_objective(m.second_moment, update(m.second_moment, m.variances)), before, 1.0 + abs(before))


sweep = Claim(
    name="kronecker_sbl.sweep",
    summary="A sweep over the modes never raises the objective of the maximisation step.",
    statement=r"Q(\gamma') \le Q(\gamma) = \textstyle\sum_n \log G_n + \Lambda_n / G_n \text{ after one sweep}",
    source=paper("alternating minimisation of the maximisation step"),
    verdict=Always(1e-12),
    instances=moments,
    evaluate=lambda m: _sweep_objective(m, alternating_sweep),
    near_miss=lambda m: _sweep_objective(m, lambda Lam, _: svd_update(np.sqrt(Lam))),
)


def _unique(m: Moments, tol: float = 1e-15) -> Measurement:
    """Compare the outer products that three starts lead to, in logarithms: the objective is jointly convex."""
    rng = m.rng()
    draws: list[_Factors] = [[rng.uniform(0.01, 2.0, (n,)) for n in m.second_moment.shape] for _ in range(2)]
    found = [np.log(outer(alternating_update(m.second_moment, start, tol=tol))) for start in [m.variances, *draws]]
    found.append(np.log(outer(newton_update(m.second_moment, m.variances))))
    return Measurement(float(np.ptp(found, axis=0).max()), 0.0, 1.0)


unique_maximisation = Claim(
    name="kronecker_sbl.unique_maximisation",
    summary="The maximisation step has one solution, whatever it starts from.",
    statement=r"Q \text{ is jointly convex in } \log \gamma_i: \text{ its minimiser G is unique}",
    source=Source.ours("convexity of the maximisation step"),
    verdict=Always(1e-7),
    instances=lambda: moments(spreads=(0.3, 1.0, 3.0)),
    evaluate=_unique,
    near_miss=lambda m: _unique(m, tol=1.0),
)


def _sinkhorn(m: Moments, powers: float = 1.0) -> Measurement:
    """Check that after the update of the last mode the slices of Lam / G along it have mean one."""
    T = m.second_moment / outer(alternating_sweep(m.second_moment, m.variances)) ** powers
    means = T.mean(axis=tuple(range(T.ndim - 1)))
    return Measurement(max(float(np.abs(means - 1.0).max()), abs(float(T.sum()) / T.size - 1.0)), 0.0, 1.0)


sinkhorn = Claim(
    name="kronecker_sbl.sinkhorn",
    summary="A sweep is Sinkhorn scaling: it gives slices of the scaled moments mean one.",
    statement=r"\text{a sweep is Sinkhorn scaling: slices of } \Lambda / G \text{ get mean one}",
    source=Source.ours("alternating minimisation as tensor scaling"),
    verdict=Always(1e-12),
    instances=moments,
    evaluate=_sinkhorn,
    near_miss=lambda m: _sinkhorn(m, powers=0.5),
)


def _hilbert(a: Any, b: Any) -> float:
    ratio = np.log(a / b)
    return float(ratio.max() - ratio.min())


def _contracts(m: Moments, power: float = 2.0) -> Measurement:
    """Measure the Hilbert distance to the limit before and after one sweep of a matrix (Birkhoff's contraction).

    A sweep is one product with 1 / Lam and one with its transpose, and inversions, which keep the distance.
    """
    Lam = m.second_moment if m.second_moment.ndim == 2 else m.second_moment.reshape(m.second_moment.shape[0], -1)
    start: _Factors = [np.ones(Lam.shape[0]), m.rng().uniform(0.01, 2.0, (Lam.shape[1],))]
    limit = newton_update(Lam, start)[1]
    after = alternating_sweep(Lam, start)[1]
    logs = np.log(Lam)
    cross = logs[:, None, :, None] + logs[None, :, None, :] - logs[:, None, None, :] - logs[None, :, :, None]
    kappa = np.tanh(cross.max() / 4)
    return Measurement(_hilbert(after, limit), kappa**power * _hilbert(start[1], limit), 1.0)


hilbert = Claim(
    name="kronecker_sbl.hilbert_contraction",
    summary="A sweep of a matrix shrinks the distance to its limit by Birkhoff's factor.",
    statement=r"d_H(\gamma_2', \gamma_2^*) \le \tanh^2(\Delta / 4)\, d_H(\gamma_2, \gamma_2^*) \quad (d = 2)",
    source=Source.classic(
        "Birkhoff (1957); Franklin, Lorenz (1989)", "contraction of positive matrices in Hilbert's metric"
    ),
    verdict=Always(1e-9),
    instances=lambda: moments(most=2),
    evaluate=_contracts,
    near_miss=lambda m: _contracts(m, power=3.0),
)


def _nearest(m: Moments, factor: float | None = None) -> Measurement:
    """Compare the distance to Lam with those of an exact step, of random products, and of alternating projections."""
    rng, d = m.rng(), m.second_moment.ndim
    products = [
        outer(alternating_update(m.second_moment, m.variances)),
        *(outer([rng.uniform(size=n) for n in m.second_moment.shape]) for _ in range(3)),
    ]
    products = [h * (np.vdot(h, m.second_moment) / np.vdot(h, h)) for h in products]
    factors = [np.ones(n) for n in m.second_moment.shape]
    for _ in range(50):
        for k in range(d):
            others = [f if j != k else np.ones_like(f) for j, f in enumerate(factors)]
            H = outer(others)
            axes = tuple(j for j in range(d) if j != k)
            factors[k] = (m.second_moment * H).sum(axis=axes) / (H * H).sum(axis=axes)
    distances = [float(np.linalg.norm(m.second_moment - h)) for h in (*products, outer(factors))]
    allowed = np.sqrt(max(d - 1, 1)) if factor is None else factor
    found = svd_update(m.second_moment)
    smallest = min(float(f.min()) for f in found)
    size = float(np.linalg.norm(m.second_moment))
    near = Measurement(float(np.linalg.norm(m.second_moment - outer(found))), allowed * min(distances), size)
    return near.and_chain({"smallest entry, negated": -smallest, "zero": 0.0})


nearest_product = Claim(
    name="kronecker_sbl.nearest_product",
    summary="The SVD step is nearly the nearest outer product, and not negative.",
    statement=r"\|\Lambda - G\| \le \sqrt{d-1}\, \|\Lambda - H\| \text{ for every outer product } H,\ G \ge 0",
    source=Source.ours("successive truncation, with a Perron vector for the leading singular vector"),
    verdict=Always(1e-10),
    instances=moments,
    evaluate=_nearest,
    near_miss=lambda m: _nearest(m, factor=0.99),
)
