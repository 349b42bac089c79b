"""Claims about distances and gauges: what the anchors must achieve, and that random ones do."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.random_supports.instances import (
    ROUNDING,
    Problem,
    classic,
    factor,
    inspired,
    ours,
    problems,
)
from sparsetheory.proofs_checks.verdicts import Always, Attains, WithProbability
from sparsetheory.regression import leave_one_out_distances, make_design, residual_norms, support_gauge, theory
from sparsetheory.regression.distances import orthonormal_basis

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Anchored:
    """The part of anchors that a gauge needs."""

    weights: _Array


def _chain(problem: Problem) -> Measurement:
    """Compare the largest ratio, the gauge, the sum of ratios and the norm bound.

    Each coefficient alone obeys ``|w_i| <= |Xw| / D_{S-i}(i)``; taking one of them, the best combination, or all of
    them at once gives the three in this order, and Cauchy's inequality the fourth.
    """
    gauge = support_gauge(problem.X, problem.S, _Anchored(problem.distances), exact=True)
    ratios = np.asarray(gauge["ratios"])
    W, order = factor(problem)
    norm = np.sqrt(order.size) * np.linalg.norm(problem.distances[order, None] * W, 2)
    return Measurement(
        measured=float(ratios.max()),
        bound=float(gauge["alpha"]),
        scale=max(float(ratios.sum()), 1.0),
        extras={"sum of ratios": float(ratios.sum()), "norm bound": float(norm)},
        also=(("bound", "sum of ratios"), ("bound", "norm bound")),
    )


def _gauge_is_the_largest_ratio(problem: Problem) -> Measurement:
    chain = _chain(problem)
    return Measurement(chain.bound, chain.measured, chain.scale)


gauge_chain = Claim(
    name="random_supports.gauge_chain",
    statement=r"\max_i \rho_i \le \alpha(S,T) \le \sum_i \rho_i, \quad \rho_i = D_T(i) / D_{S \setminus i}(i)",
    source=ours("gauge chain"),
    verdict=Always(ROUNDING),
    instances=problems,
    evaluate=_chain,
    near_miss=_gauge_is_the_largest_ratio,
)


def _weighted_l1(problem: Problem) -> Measurement:
    """Compare the l1 norm of rescaled coefficients with the gauge times the size of the signal, at the worst w.

    By duality the worst w solves ``R w = W' (s * D)`` for the sign vector s that attains the gauge; all are tried.
    """
    gauge = support_gauge(problem.X, problem.S, _Anchored(problem.distances), exact=True)
    W, order = factor(problem)
    distances = problem.distances[order]
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * order.size)).reshape(order.size, -1)
    candidates = W @ (W.T @ (signs * distances[:, None]))
    sizes = np.linalg.norm(problem.X[:, order] @ candidates, axis=0) / np.sqrt(problem.n)
    norms = distances @ np.abs(candidates)
    own = problem.distances[problem.S] @ np.abs(problem.w)
    measured = np.append(norms / np.where(sizes > 0, sizes, 1.0), own / problem.rms(problem.signal))
    return Measurement.worst(measured, float(gauge["alpha"]), max(float(gauge["alpha"]), 1e-3))


weighted_l1 = Claim(
    name="random_supports.weighted_l1",
    statement=r"\sum_{i \in S} |w_i| D_T(i) \le \alpha(S,T)\, \|Xw\|_N",
    source=inspired("size of the rescaled coefficients"),
    verdict=Always(ROUNDING),
    instances=problems,
    evaluate=_weighted_l1,
    near_miss=0.9,
)


def _monotone(problem: Problem) -> Measurement:
    """Compare distances to more anchors with those to fewer: projections on larger spans leave less."""
    more = np.union1d(problem.T, problem.rng().choice(problem.X.shape[1], 3, replace=False))
    return Measurement.worst(
        residual_norms(problem.X, orthonormal_basis(problem.X[:, more])[0]), problem.distances, 1.0
    )


monotone_distances = Claim(
    name="random_supports.monotone_distances",
    statement=r"T \subseteq T' \Rightarrow D_{T'}(i) \le D_T(i)",
    source=classic("projection theorem", "monotonicity of distances"),
    verdict=Always(ROUNDING),
    instances=problems,
    evaluate=_monotone,
    near_miss=0.9,
)

_K, _BLOCKS = 3, 20


@dataclass(frozen=True)
class _SupportAndAnchors:
    X: _Array
    S: NDArray[np.intp]
    T: NDArray[np.intp]
    rare: NDArray[np.intp]


@cache
def _clustered(hi: float) -> _Array:
    return make_design("clusters", 60, 400, G=40, lo=hi / 10, hi=hi, random_state=0)


def _draw_anchors(rng: np.random.Generator, hi: float) -> _SupportAndAnchors:
    X = _clustered(hi)
    S, T = (rng.choice(400, size, replace=False) for size in (_K, _BLOCKS * (_K - 1)))
    # Eight columns in four near-duplicate pairs that a uniform draw of anchors seldom meets.
    pairs = rng.standard_normal((60, 4))
    rare = np.hstack([pairs, pairs + 1e-3 * rng.standard_normal((60, 4))])
    return _SupportAndAnchors(np.hstack([X, rare]), S, T, 400 + rng.choice(8, _K, replace=False))


def _worst_ratio(X: _Array, S: NDArray[np.intp], T: NDArray[np.intp]) -> Measurement:
    distances = residual_norms(X[:, S], orthonormal_basis(X[:, T])[0])
    ratios = distances / leave_one_out_distances(X[:, S])
    return Measurement(float(ratios[~np.isin(S, T)].max(initial=0.0)), 1.0)


def _random_anchors(instance: _SupportAndAnchors) -> Measurement:
    """Measure the largest ratio of a support against uniform anchors.

    Cut what T and S do not share into blocks of k - 1 columns: given the union they are exchangeable, so the support's
    own block is the closest to a column of S with probability at most one over the number of blocks plus one; then sum
    over the k columns.
    """
    return _worst_ratio(instance.X, instance.S, instance.T)


def _uniform_anchors_for_rare_supports(instance: _SupportAndAnchors) -> Measurement:
    """Draw the support from few columns and the anchors from all: the laws must be the same."""
    return _worst_ratio(instance.X, instance.rare, instance.T)


random_anchors = Claim(
    name="random_supports.random_anchors",
    statement=r"P(\exists i \in S : D_T(i) > D_{S \setminus i}(i)) \le \frac{k}{\lfloor m/(k-1) \rfloor + 1}",
    source=inspired("Theorem A, random anchors"),
    verdict=WithProbability(1 - theory.anchor_failure_bound(_K, _BLOCKS * (_K - 1))),
    instances=lambda: st.builds(
        lambda seed, hi: _draw_anchors(np.random.default_rng(seed), hi),
        st.integers(0, 2**32 - 1),
        st.sampled_from([1e-1, 1e-3, 1e-5]),
    ),
    evaluate=_random_anchors,
    near_miss=_uniform_anchors_for_rare_supports,
    sweep=Sweep(
        axis="largest distance within a cluster",
        values=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
        draw=_draw_anchors,
        trials=400,
        quick_trials=60,
        log="xy",
        measured_label="largest ratio",
        bound_label="1",
    ),
)


@dataclass(frozen=True)
class _Dictionary:
    """Unit columns, a point in their span, and a direction to test it with."""

    atoms: _Array
    x: _Array
    u: _Array


def _draw_dictionary(n: int, size: int, seed: int) -> _Dictionary:
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((n, size))
    return _Dictionary(atoms / np.linalg.norm(atoms, axis=0), rng.standard_normal(n), rng.standard_normal(n))


def _duality(instance: _Dictionary) -> Measurement:
    """Compare the dual certificate with the least l1 norm of an exact representation, by linear programming."""
    size = instance.atoms.shape[1]
    representation = optimize.linprog(
        np.ones(2 * size), A_eq=np.hstack([instance.atoms, -instance.atoms]), b_eq=instance.x, method="highs"
    )
    certificate = theory.gauge_certificate(instance.atoms, instance.x, instance.u)
    return Measurement(certificate, float(representation.fun))


def _unscaled_direction(instance: _Dictionary) -> Measurement:
    return replace(_duality(instance), measured=float(instance.u @ instance.x))


gauge_duality = Claim(
    name="random_supports.gauge_duality",
    statement=r"\langle u, x \rangle \le \min \{ \|c\|_1 : Dc = x \} \text{ if } \max_j |\langle d_j, u \rangle| \le 1",
    source=classic("linear programming duality", "weak duality of atomic gauges"),
    verdict=Always(1e-7),
    instances=lambda: st.builds(
        lambda n, extra, seed: _draw_dictionary(n, n + extra, seed),
        st.integers(2, 8),
        st.integers(1, 20),
        st.integers(0, 2**32 - 1),
    ),
    evaluate=_duality,
    near_miss=_unscaled_direction,
)


def _best_certificate(instance: _Dictionary) -> Measurement:
    """Certify that a unit vector on the support needs a large l1 norm in any given dictionary.

    With Gaussian g, ``u = g / max_j |<d_j, g>|`` is feasible and ``x = g_S / |g_S|`` gives ``|g_S| / max``; the
    maximum is about ``sqrt(2 log 2M)`` and ``|g_S|`` about ``sqrt(k)``.
    """
    k = int(instance.x.sum())
    g_S = instance.u * instance.x
    value = theory.gauge_certificate(instance.atoms, g_S / np.linalg.norm(g_S), instance.u)
    return Measurement(value, 0.7 * float(np.sqrt(k / (2 * np.log(2 * instance.atoms.shape[1])))))


def _draw_support(rng: np.random.Generator, k: float) -> _Dictionary:
    atoms = rng.standard_normal((200, 800))
    atoms /= np.linalg.norm(atoms, axis=0)
    x = np.zeros(200)
    x[rng.choice(200, int(k), replace=False)] = 1.0
    return _Dictionary(atoms, x, rng.standard_normal(200))


no_dictionary = Claim(
    name="random_supports.no_dictionary",
    statement=r"\max_{w \text{ on } S} \|Xw\|_{D} \ge 0.7 \sqrt{k / (2 \log 2M)} \text{ for orthonormal } X",
    source=ours("no dictionary of M atoms makes random supports easier than this"),
    verdict=Attains(0.95),
    instances=lambda: st.builds(
        lambda seed, k: _draw_support(np.random.default_rng(seed), k), st.integers(0, 2**32 - 1), st.integers(5, 80)
    ),
    evaluate=_best_certificate,
    near_miss=lambda instance: _best_certificate(instance).with_bound(3.0),
    sweep=Sweep(
        axis="k",
        values=(5, 10, 20, 40, 80),
        draw=_draw_support,
        trials=60,
        quick_trials=15,
        log="xy",
        measured_label="certified gauge",
        bound_label="lower bound",
    ),
)
