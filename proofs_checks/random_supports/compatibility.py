"""Claims about distances and compatibilities: what the anchors must achieve, and that random ones do."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np
from hypothesis import strategies as st
from scipy import optimize

from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source, Sweep
from sparsetheory.proofs_checks.random_supports.exact import ROUNDING as ROUNDING_OF_COMPATIBILITIES
from sparsetheory.proofs_checks.random_supports.exact import ExactProblem, exact_problems
from sparsetheory.proofs_checks.random_supports.instances import Anchored, inspired
from sparsetheory.proofs_checks.verdicts import Always, Attains, WithProbability
from sparsetheory.regression import leave_one_out_distances, make_design, residual_norms, support_compatibility, theory
from sparsetheory.regression.distances import inverse_factor
from sparsetheory.regression.orthonormal import orthonormal_basis
from sparsetheory.typing import Float64Array, IndexArray


@dataclass(frozen=True, eq=False)
class _Compatibility:
    """What the package says of the compatibility of a support, and the same in exact arithmetic.

    Where columns depend on each other, signals are written on a maximal independent subset: that the subset is one is
    checked, the choice among several is the package's own.
    """

    problem: ExactProblem
    compatibility: float
    kept: list[int]
    ratios: Float64Array
    alone: Float64Array
    W: Float64Array

    @classmethod
    def of(cls, problem: ExactProblem) -> "_Compatibility":
        basis = orthonormal_basis(problem.X[:, problem.anchors])[0]
        said = support_compatibility(
            problem.X, problem.support, Anchored(residual_norms(problem.X, basis, recompute_below=1.0)), exact=True
        )
        kept = sorted(inverse_factor(problem.X[:, problem.support])[1].tolist())
        distances = problem.anchor_distances()[kept]
        alone = problem.leave_one_out(kept)
        W = (
            distances[:, None] * problem.inverse_gram(kept) * distances
            if problem.spans(kept)
            else np.full((1, 1), np.nan)
        )
        return cls(problem, float(said.compatibility), kept, distances / alone, alone, W)

    @property
    def exact_compatibility(self) -> float:
        """The largest norm over signs; at the maximum the terms do not cancel, for it is at least their trace."""
        if np.isnan(self.W).any():
            return np.nan
        signs = np.array(list(product([1.0, -1.0], repeat=len(self.kept))))
        return float(np.sqrt(np.einsum("si,ij,sj->s", signs, self.W, signs).max(initial=0.0)))

    @property
    def rounding(self) -> float:
        """What an error of one unit in the last place of every column is multiplied by."""
        condition = float((self.problem.norms[self.kept] / self.alone).max(initial=1.0))
        return condition * (len(self.kept) + self.compatibility)


def _accuracy(problem: ExactProblem) -> Measurement:
    """Compare compatibility with its value in rational arithmetic.

    Triangular factors carry relative errors of the condition times the unit roundoff, distances errors of the unit
    roundoff times the norm of the column, which a ratio divides by the distance within the support.
    """
    compatibility = _Compatibility.of(problem)
    return Measurement(
        abs(compatibility.compatibility - compatibility.exact_compatibility),
        ROUNDING_OF_COMPATIBILITIES * compatibility.rounding,
    )


def _accurate_whatever_the_condition(problem: ExactProblem) -> Measurement:
    compatibility = _Compatibility.of(problem)
    return Measurement(
        abs(compatibility.compatibility - compatibility.exact_compatibility),
        ROUNDING_OF_COMPATIBILITIES * (len(compatibility.kept) + compatibility.exact_compatibility),
    )


compatibility_accuracy = Claim(
    name="random_supports.compatibility_accuracy",
    summary="The computed compatibility is right to rounding times the condition of the support.",
    statement=r"|\hat\alpha - \alpha| \le 20\, u\, \kappa\, (k + \alpha), \quad \kappa = \max_i"
    r" \|x_i\|_N / D_{S \setminus i}(i), \text{ dependent supports included}",
    source=Source.ours("rounding of the compatibility, against rational arithmetic"),
    verdict=Always(0.0),
    instances=exact_problems,
    evaluate=_accuracy,
    near_miss=_accurate_whatever_the_condition,
)


def _chain(problem: ExactProblem) -> Measurement:
    """Compare the largest exact ratio, the package's compatibility, and the sum of exact ratios.

    Each coefficient alone obeys ``|w_i| <= |Xw| / D_{S-i}(i)``; taking one of them, the best combination, or all of
    them at once gives the three in this order.
    """
    compatibility = _Compatibility.of(problem)
    return Measurement.chain(
        float(compatibility.ratios.max(initial=0.0)),
        compatibility.compatibility,
        {"sum of ratios": float(compatibility.ratios.sum())},
        scale=compatibility.rounding,
    )


compatibility_chain = Claim(
    name="random_supports.compatibility_chain",
    summary="The compatibility lies between the largest ratio of two distances and the sum of the ratios.",
    statement=r"\max_i \rho_i \le \alpha(S,T) \le \sum_i \rho_i, \quad \rho_i = D_T(i) / D_{S \setminus i}(i)",
    source=Source.ours("compatibility chain"),
    verdict=Always(ROUNDING_OF_COMPATIBILITIES),
    instances=exact_problems,
    evaluate=_chain,
    near_miss=Reversed(),
)


def _weighted_l1(problem: ExactProblem) -> Measurement:
    """Compare the l1 norm of rescaled coefficients with the compatibility times the size of the signal, at the worst w.

    By duality the worst w is ``G^{-1} (s * D)`` for the sign vector s that attains the compatibility; all are tried,
    and their signals are measured without rounding.
    """
    compatibility = _Compatibility.of(problem)
    if not problem.spans(compatibility.kept):
        return Measurement(np.nan, compatibility.compatibility)
    distances, inverse = problem.anchor_distances()[compatibility.kept], problem.inverse_gram(compatibility.kept)
    candidates = [inverse @ (np.array(s) * distances) for s in product([1.0, -1.0], repeat=len(compatibility.kept))]
    candidates.append(np.random.default_rng(problem.rng_seed).standard_normal(len(compatibility.kept)))
    sizes = [problem.size(compatibility.kept, w) for w in candidates]
    shares = [float(distances @ np.abs(w)) / size if size else 0.0 for w, size in zip(candidates, sizes, strict=True)]
    return Measurement(max(shares), compatibility.compatibility, compatibility.rounding)


weighted_l1 = Claim(
    name="random_supports.weighted_l1",
    summary="The compatibility bounds the l1 norm of rescaled coefficients by the size of the signal.",
    statement=r"\sum_{i \in S} |w_i| D_T(i) \le \alpha(S,T)\, \|Xw\|_N",
    source=inspired("size of the rescaled coefficients"),
    verdict=Always(ROUNDING_OF_COMPATIBILITIES),
    instances=exact_problems,
    evaluate=_weighted_l1,
    near_miss=0.9,
)


def _monotone(problem: ExactProblem) -> Measurement:
    """Compare distances to all anchors with exact distances to the first of them.

    Projections on larger spans leave less. Distances are accurate to 1e-8, or to rounding of the norm of the column.
    """
    more = residual_norms(problem.X, orthonormal_basis(problem.X[:, problem.anchors])[0])
    fewer = np.array([problem.distance(i, problem.anchors[:1]) for i in range(problem.X.shape[1])])
    return Measurement.worst(more, fewer * (1 + 1e-8) + ROUNDING_OF_COMPATIBILITIES * problem.norms)


monotone_distances = Claim(
    name="random_supports.monotone_distances",
    summary="More anchors never lie farther from a column.",
    statement=r"T \subseteq T' \Rightarrow D_{T'}(i) \le D_T(i)",
    source=Source.classic("projection theorem", "monotonicity of distances"),
    verdict=Always(0.0),
    instances=exact_problems,
    evaluate=_monotone,
    near_miss=0.9,
)

_K, _BLOCKS = 3, 20


@dataclass(frozen=True)
class _SupportAndAnchors:
    X: Float64Array
    S: IndexArray
    T: IndexArray
    rare: IndexArray


@cache
def _clustered(hi: float) -> Float64Array:
    return make_design("clusters", 60, 400, n_clusters=40, min_scale=hi / 10, max_scale=hi, random_state=0)


def _draw_anchors(rng: np.random.Generator, hi: float) -> _SupportAndAnchors:
    X = _clustered(hi)
    S, T = (rng.choice(400, size, replace=False) for size in (_K, _BLOCKS * (_K - 1)))
    # Eight columns in four near-duplicate pairs that a uniform draw of anchors seldom meets.
    pairs = rng.standard_normal((60, 4))
    rare = np.hstack([pairs, pairs + 1e-3 * rng.standard_normal((60, 4))])
    return _SupportAndAnchors(np.hstack([X, rare]), S, T, 400 + rng.choice(8, _K, replace=False))


def _worst_ratio(X: Float64Array, S: IndexArray, T: IndexArray) -> Measurement:
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
    summary="Random anchors come as close to every column of a random support as the support itself.",
    statement=r"P(\exists i \in S : D_T(i) > D_{S \setminus i}(i)) \le \frac{k}{\lfloor m/(k-1) \rfloor + 1}",
    source=inspired("Theorem A, random anchors"),
    verdict=WithProbability(1 - theory.anchor_failure_bound(_K, _BLOCKS * (_K - 1))),
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

    atoms: Float64Array
    x: Float64Array
    u: Float64Array


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
    certificate = theory.atomic_norm_certificate(instance.atoms, instance.x, instance.u)
    return Measurement(certificate, float(representation.fun))


def _unscaled_direction(instance: _Dictionary) -> Measurement:
    return replace(_duality(instance), measured=float(instance.u @ instance.x))


atomic_norm_duality = Claim(
    name="random_supports.atomic_norm_duality",
    summary="A direction that no atom exceeds bounds the cost of a signal from below.",
    statement=r"\langle u, x \rangle \le \min \{ \|c\|_1 : Dc = x \} \text{ if } \max_j |\langle d_j, u \rangle| \le 1",
    source=Source.classic("linear programming duality", "weak duality of atomic norms"),
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


_ATTEMPTS = 8


def _best_certificate(instance: _Dictionary) -> Measurement:
    """Find a unit vector on the support that needs a large l1 norm in the given dictionary.

    With Gaussian g, ``u = g / max_j |<d_j, g>|`` is feasible and ``x = g_S / |g_S|`` gives ``|g_S| / max``. On average
    ``|g_S|`` is at least ``sqrt(k - 1/2)`` and the maximum at most ``sqrt(2 log 2M)``, so that some g reaches their
    quotient; the best of eight is taken.
    """
    values = []
    for g in np.random.default_rng(int(instance.u[0])).standard_normal((_ATTEMPTS, instance.x.size)):
        g_S = g * instance.x
        values.append(theory.atomic_norm_certificate(instance.atoms, g_S / np.linalg.norm(g_S), g))
    return Measurement(max(values), theory.atomic_norm_bound(int(instance.x.sum()), instance.atoms.shape[1]))


def _draw_support(rng: np.random.Generator, k: float) -> _Dictionary:
    atoms = rng.standard_normal((200, 800))
    atoms /= np.linalg.norm(atoms, axis=0)
    x = np.zeros(200)
    x[rng.choice(200, int(k), replace=False)] = 1.0
    return _Dictionary(atoms, x, rng.integers(2**32, size=1).astype(float))


no_dictionary = Claim(
    name="random_supports.no_dictionary",
    summary="No dictionary of so many vectors makes all signals on a support cheap.",
    statement=r"\max_{w \text{ on } S} \|Xw\|_{D} \ge \sqrt{(k - \tfrac12) / (2 \log 2M)} \text{ for orthonormal } X",
    source=Source.ours("no dictionary of M atoms makes random supports easier than this"),
    verdict=Attains(0.95),
    evaluate=_best_certificate,
    # The maximum of M Gaussian variables without its factor of two.
    near_miss=float(np.sqrt(2)),
    sweep=Sweep(
        axis="k",
        values=(5, 10, 20, 40, 80),
        draw=_draw_support,
        trials=60,
        quick_trials=40,
        quick_values=(5, 20, 80),
        log="xy",
        measured_label="certified atomic norm",
        bound_label="lower bound",
    ),
)
