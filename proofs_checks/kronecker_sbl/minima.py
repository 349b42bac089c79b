"""Claims about the landscape: sparse minima, fewer of them with structure, and what makes a solution unique."""

from dataclasses import dataclass
from itertools import combinations, product
from math import inf, prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian import (
    kron_local_minima,
    kron_omp_batch,
    sbl_cost,
    sbl_local_minima,
    sbl_sparsify,
)
from sparsetheory.bayesian.sbl.local_minima import mode_sparsify
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.kronecker_sbl.instances import Problem, kron, problems
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import AnyArray


def _sparsified(problem: Problem, spare: int = 0) -> Measurement:
    """Compare the cost of the vertex with that of the point it started from, and count its entries."""
    sparse = sbl_sparsify(problem.A, problem.y, problem.G, noise_variance=problem.noise)
    before = problem.posterior.cost
    most = problem.y.size * (2 if np.iscomplexobj(problem.y) else 1) - spare
    below = sbl_cost([problem.A], problem.y, [sparse], noise_variance=problem.noise)
    counts = {"nonzero variances": float(np.count_nonzero(sparse)), "measurements": float(most)}
    return Measurement(below, before, 1.0 + abs(before)).and_chain(counts)


sparse_below = Claim(
    name="kronecker_sbl.sparse_below",
    summary="Below every point of the cost lies one with no more variances than measurements.",
    statement=r"\text{every } \gamma \text{ has a } \gamma' \text{ with } L(\gamma') \le L(\gamma) "
    r"\text{ and at most } M \text{ (complex: } 2M \text{) nonzero entries}",
    source=Source.classic("Wipf, Rao (2004)", "local minima are sparse; the complex count is ours"),
    verdict=Always(1e-9),
    instances=lambda: problems(most=2),
    evaluate=_sparsified,
    near_miss=lambda problem: _sparsified(problem, spare=1),
)


def _mode_sparsified(problem: Problem, spare: int = 0) -> Measurement:
    """Replace one factor by a sparse one with the same covariance of its mode: the cost must stay."""
    A, rest = problem.dictionaries[0], problem.variances[1:]
    sparse, m = mode_sparsify(A, problem.variances[0]), A.shape[0]
    most = m * m if np.iscomplexobj(A) else m * (m + 1) // 2
    before = problem.posterior.cost
    after = sbl_cost(problem.dictionaries, problem.y, [sparse, *rest], noise_variance=problem.noise)
    counts = {"nonzero factors": float(np.count_nonzero(sparse)), "most": float(most - spare)}
    return Measurement(abs(after - before), 0.0, (1.0 + abs(before)) * problem.amplification).and_chain(counts)


sparse_factors = Claim(
    name="kronecker_sbl.sparse_factors",
    summary="A factor can be made sparse without any change of the covariance.",
    statement=r"\text{each } \gamma_k \text{ may be replaced, at the same } C, \text{ by one with at most }"
    r" M_k (M_k + 1) / 2 \text{ (complex: } M_k^2 \text{) nonzero entries}",
    source=Source.ours("Carathéodory's theorem for the matrices of one mode"),
    verdict=Always(1e-12),
    instances=problems,
    evaluate=_mode_sparsified,
    near_miss=lambda problem: _mode_sparsified(problem, spare=1),
)


def _on_a_support(problem: Problem) -> tuple[list[AnyArray], list[AnyArray], AnyArray]:
    """Draw a support per mode, restrict the factors to it, and measure a vector on it without noise."""
    rng = problem.rng()
    supports: list[AnyArray] = [np.less(rng.random(A.shape[1]), 0.5) for A in problem.dictionaries]
    for support in supports:
        support[0] = True
    gammas: list[AnyArray] = [np.where(s, g, 0.0) for g, s in zip(problem.variances, supports, strict=True)]
    return supports, gammas, problem.A @ (kron(supports) * rng.standard_normal(problem.G.size))


def _rank(problem: Problem, supports: list[AnyArray], capped: bool = True) -> int:
    sizes = [(A.shape[0], int(s.sum())) for A, s in zip(problem.dictionaries, supports, strict=True)]
    return prod(min(m, s) if capped else s for m, s in sizes)


def _is_noiseless(problem: Problem) -> bool:
    """Whether at noise 1e-8 what remains of the derivative, and rounding of null eigenvalues, is below 1e-3."""
    supports, gammas, y = _on_a_support(problem)
    U, s, _ = np.linalg.svd(problem.A * np.sqrt(kron(gammas)))
    rank = _rank(problem, supports)
    p, energy = s[:rank] ** 2, np.abs(U.conj().T @ y)[:rank] ** 2
    remainder = 1e-8 * np.sum(1.0 / p + energy / p**2) + 10 * y.size * np.finfo(float).eps * p[0] / 1e-9
    return bool(remainder < 1e-3)


def _noiseless_slope(problem: Problem, capped: bool = True) -> Measurement:
    """Measure the slope of the cost in log noise between 1e-8 and 1e-9, for measurements in the span of a support.

    M minus the rank of A on the support remains of the log determinant; the data term becomes constant.
    """
    supports, gammas, y = _on_a_support(problem)
    costs = [sbl_cost(problem.dictionaries, y, gammas, noise_variance=noise) for noise in (1e-8, 1e-9)]
    slope = (costs[0] - costs[1]) / np.log(10.0)
    return Measurement(abs(slope - (y.size - _rank(problem, supports, capped))), 1e-3)


noiseless_slope = Claim(
    name="kronecker_sbl.noiseless_slope",
    summary="Without noise the cost counts dimensions: the smallest support costs least.",
    statement=r"\partial L / \partial \log \sigma^2 \to M - \prod_i \min(M_i, |S_i|) \text{ as } \sigma^2 \to 0"
    r" \text{: the smallest support has the lowest cost}",
    source=Source.ours("noiseless limit of the cost on a support"),
    verdict=Always(0.0),
    instances=lambda: problems(most=3).filter(_is_noiseless),
    evaluate=_noiseless_slope,
    near_miss=lambda problem: _noiseless_slope(problem, capped=False),
)


@dataclass(frozen=True, eq=False)
class _Landscape:
    """Two real modes with separable noiseless measurements."""

    dictionaries: list[AnyArray]
    ys: list[AnyArray]


def _draw_landscape(rng: np.random.Generator, columns: float, rows: tuple[int, int] = (2, 2)) -> _Landscape:
    As = [rng.standard_normal((rows[0], 4)), rng.standard_normal((rows[1], int(columns)))]
    ys: list[AnyArray] = [np.asarray(rng.standard_normal(A.shape[0])) for A in As]
    return _Landscape(As, ys)


def _landscapes() -> st.SearchStrategy[_Landscape]:
    return st.builds(
        lambda seed, columns, first: _draw_landscape(np.random.default_rng(seed), columns, (first, 2)),
        st.integers(0, 2**32 - 1),
        st.integers(2, 4),
        st.integers(2, 3),
    )


# Changes of the cost below that say nothing: a covariance of condition 1e6 is as much rounding.
_UNCLEAR = 2e-8
_CONDITION = 1e6


def _covariance(landscape: _Landscape, G: AnyArray) -> AnyArray:
    A = kron(landscape.dictionaries)
    return np.asarray((A * G) @ A.T)


def _cost(landscape: _Landscape, G: AnyArray) -> float:
    """Return the noiseless cost of variances of all products of columns, from the covariance itself."""
    C, y = _covariance(landscape, G), kron(landscape.ys)
    return float(np.linalg.slogdet(C)[1] + y @ np.linalg.solve(C, y))


def _least_change(landscape: _Landscape, G: AnyArray, moved: list[AnyArray]) -> float:
    """Return the least change of the cost from G to others; zero where rounding hides it."""
    if np.linalg.cond(_covariance(landscape, G)) > _CONDITION:
        return 0.0
    here = _cost(landscape, G)
    return min((_cost(landscape, other) - here for other in moved), default=1.0)


def _vertex(A: AnyArray, y: AnyArray, support: tuple[int, ...]) -> AnyArray:
    """Return the variances on a basis at which no change within the basis lowers the cost: squares of its solution."""
    gamma = np.zeros(A.shape[1])
    gamma[list(support)] = np.linalg.solve(A[:, list(support)], y) ** 2
    return gamma


def _additions(A: AnyArray, gamma: AnyArray) -> list[AnyArray]:
    """Return variances with a little more of one column, for every column: the determinant grows by 1e-4."""
    q = np.einsum("mn,mn->n", A, np.linalg.solve((A * gamma) @ A.T, A))
    return [gamma + 1e-4 / q[n] * (np.arange(gamma.size) == n) for n in np.flatnonzero(gamma == 0)]


def _change_without_structure(landscape: _Landscape, support: tuple[int, ...]) -> float:
    """Return the least change of the cost when a column is added to a basis of the whole matrix."""
    A = kron(landscape.dictionaries)
    if np.linalg.cond(A[:, list(support)]) > _CONDITION:
        return 0.0
    G = _vertex(A, kron(landscape.ys), support)
    return _least_change(landscape, G, _additions(A, G))


def _change_with_structure(landscape: _Landscape, supports: tuple[tuple[int, ...], ...], rng: Any) -> float:
    """Return that of a product of bases, when a column of one mode is added; moves within the bases raise the cost."""
    factors = [_vertex(A, y, S) for A, y, S in zip(landscape.dictionaries, landscape.ys, supports, strict=True)]
    first, second = factors
    moved = [kron([more, second]) for more in _additions(landscape.dictionaries[0], first)]
    moved += [kron([first, more]) for more in _additions(landscape.dictionaries[1], second)]
    shaken = [kron([g * np.exp(1e-2 * rng.standard_normal(g.size)) for g in factors]) for _ in range(3)]
    inside = _least_change(landscape, kron(factors), shaken)
    return _least_change(landscape, kron(factors), moved) if inside > -_UNCLEAR else -np.inf


def _wrong_minima(changes: dict[Any, float], listed: set[Any]) -> int:
    """Count bases that are listed although a change lowers the cost, or not although none does."""
    return sum(change < -_UNCLEAR if S in listed else change > _UNCLEAR for S, change in changes.items())


def _counts(landscape: _Landscape, share: float = 1.0) -> Measurement:
    """Count local minima with and without structure, by the cost at every product of bases and around it.

    Profiling the scale out, the cost is a sum over modes, so local minima are products of those of the modes. Whether
    a support is a minimum depends on the entries w of one vector per column: the sum of squares must exceed the square
    of the sum. Both are products over modes, so the condition carries over. Of the bases without structure, of which
    there are many more, all that are minima with structure and some others are compared with their costs.
    """
    rng, A, n = np.random.default_rng(0), kron(landscape.dictionaries), landscape.dictionaries[1].shape[1]
    listed, flat = (
        set(kron_local_minima(landscape.dictionaries, landscape.ys)),
        set(sbl_local_minima(A, kron(landscape.ys))),
    )
    bases = product(*(combinations(range(A.shape[1]), A.shape[0]) for A in landscape.dictionaries))
    changes: dict[tuple[tuple[int, ...], ...], float] = {S: _change_with_structure(landscape, S, rng) for S in bases}
    minima = [S for S, change in changes.items() if change > _UNCLEAR or (S in listed and change > -_UNCLEAR)]
    whole = [tuple(n * i + j for i in first for j in second) for first, second in minima]
    others = [tuple(sorted(int(i) for i in rng.permutation(A.shape[1])[: A.shape[0]])) for _ in range(15)]
    sample = whole + others + sorted(flat)[:: max(len(flat) // 15, 1)]
    wrong = _wrong_minima(changes, listed) + len(set(whole) - flat)
    wrong += _wrong_minima({S: _change_without_structure(landscape, S) for S in sample}, flat)
    measured = float(len(minima)) if wrong == 0 else np.inf
    return Measurement(measured, share * len(flat), extras={"products of bases": float(len(changes))})


fewer_minima = Claim(
    name="kronecker_sbl.fewer_minima",
    summary="Structure leaves fewer local minima, each of which is one without structure too.",
    statement=r"\#\text{minima}(L_{\otimes}) = \prod_i m_i \le \#\text{minima}(L) \quad (y = y_1 \otimes y_2,\ "
    r"\sigma^2 \to 0)",
    source=Source.ours("local minima with structure are products of those of the modes, and minima without it"),
    verdict=Always(0.0),
    instances=_landscapes,
    evaluate=_counts,
    near_miss=lambda landscape: _counts(landscape, share=0.5),
    sweep=Sweep(
        axis="columns of the second mode (2 x 4 and 2 x N)",
        values=(3.0, 4.0, 5.0, 6.0),
        draw=_draw_landscape,
        trials=40,
        quick_trials=5,
        log="y",
        measured_label="local minima with structure",
        y_label="number of local minima",
        bound_label="without",
    ),
)


def _spark(A: AnyArray) -> float:
    """Return the size of the smallest dependent set of columns, infinite if there is none."""
    for size in range(1, A.shape[1] + 1):
        for S in combinations(range(A.shape[1]), size):
            if size > A.shape[0] or np.linalg.matrix_rank(A[:, S]) < size:
                return size
    return inf


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two small integer matrices, of which subsets of columns are often dependent."""

    A: AnyArray
    B: AnyArray


def _draw_pair(seed: int, rows: int, columns: int) -> _Pair:
    rng = np.random.default_rng(seed)
    return _Pair(*(rng.integers(-1, 2, (rows, columns)).astype(float) for _ in range(2)))


def _spark_of_product(pair: _Pair, choose: Any = min) -> Measurement:
    """Compare sparks by enumeration. A product of matrices of independent columns has independent columns."""
    found, expected = _spark(np.kron(pair.A, pair.B)), choose(_spark(pair.A), _spark(pair.B))
    return Measurement(0.0 if found == expected else 1.0, 0.0, 1.0)


spark_of_product = Claim(
    name="kronecker_sbl.spark_of_product",
    summary="The spark of a Kronecker product is the smaller of the sparks.",
    statement=r"\mathrm{spark}(A_1 \otimes A_2) = \min(\mathrm{spark}\,A_1, \mathrm{spark}\,A_2),"
    r" \quad \mathrm{spark} = \infty \text{ for independent columns}",
    source=Source.classic("Jokar, Mehrmann (2009)", "sparks of Kronecker products"),
    verdict=Always(0.0),
    instances=lambda: st.builds(_draw_pair, st.integers(0, 2**32 - 1), st.integers(2, 3), st.integers(2, 4)),
    evaluate=_spark_of_product,
    near_miss=lambda pair: _spark_of_product(pair, choose=max),
)


@dataclass(frozen=True)
class _Supports:
    """Gaussian 4 x 5 modes and a seed of supports."""

    seed: int


def _explanations(instance: _Supports, size: int = 2) -> Measurement:
    """Count other product supports of at most `size` per mode that explain noiseless data of such a support.

    If x and x' agree through A, their difference has mode unfoldings whose columns have at most |S_i| + |S_i'| < spark
    nonzero entries: mode by mode it must vanish.
    """
    rng = np.random.default_rng(instance.seed)
    As = [rng.standard_normal((4, 5)) for _ in range(2)]
    S = [np.sort(rng.choice(5, int(rng.integers(1, size + 1)) if size == 2 else size, replace=False)) for _ in As]
    y = np.kron(*(A[:, s] for A, s in zip(As, S, strict=True))) @ rng.standard_normal(S[0].size * S[1].size)
    supports = [c for k in range(1, size + 1) for c in combinations(range(5), k)]
    projections = [[A[:, c] @ np.linalg.pinv(A[:, c]) for c in supports] for A in As]
    Y, count = y.reshape(4, 4), 0
    for a, P in zip(supports, projections[0], strict=True):
        for b, Q in zip(supports, projections[1], strict=True):
            contains = set(S[0]) <= set(a) and set(S[1]) <= set(b)
            if not contains and np.linalg.norm(Y - P @ Y @ Q.T) < 1e-9 * np.linalg.norm(Y):
                count += 1
    return Measurement(float(count), 0.0, 1.0)


unique_supports = Claim(
    name="kronecker_sbl.unique_supports",
    summary="Supports of less than half the spark of every mode explain noiseless data alone.",
    statement=r"|S_i| < \mathrm{spark}(A_i) / 2 \text{ for all } i:\ x \text{ is the only such solution of } y = Ax",
    source=Source.ours("uniqueness from the sparks of the modes: products of sizes, not their minimum"),
    verdict=Always(0.0),
    instances=lambda: st.builds(_Supports, st.integers(0, 2**32 - 1)),
    evaluate=_explanations,
    near_miss=lambda instance: _explanations(instance, size=4),
)


def _same_atoms(problem: Problem, normalised: bool = False) -> Measurement:
    """Compare the atoms of dense orthogonal matching pursuit with those found without the dictionary.

    Where two atoms correlate equally to rounding, either is right: the comparison ends there.
    """
    steps = min(problem.y.size, problem.G.size, 6)
    atoms = kron_omp_batch(problem.dictionaries, problem.y, n_nonzero=steps).support
    A, residual, chosen = problem.A, problem.y, []
    scale = np.linalg.norm(A, axis=0) if normalised else np.ones(A.shape[1])
    for atom in atoms:
        correlations = np.abs(A.conj().T @ residual) / scale
        best = int(np.argmax(correlations))
        if correlations[best] < 1e-9 * np.linalg.norm(problem.y):
            break
        if best != atom and correlations[atom] < (1 - 1e-9) * correlations[best]:
            return Measurement(1.0, 0.0, 1.0)
        chosen.append(int(atom))
        residual = problem.y - A[:, chosen] @ np.linalg.lstsq(A[:, chosen], problem.y, rcond=None)[0]
    return Measurement(0.0, 0.0, 1.0)


same_atoms = Claim(
    name="kronecker_sbl.same_atoms",
    summary="Pursuit without the dictionary picks the atoms of dense pursuit.",
    statement=r"\text{pursuit with } b - (\otimes_i A_i^H A_i)\,x \text{ picks the atoms of dense pursuit, in order}",
    source=Source.ours("orthogonal matching pursuit without the dictionary"),
    verdict=Always(0.0),
    instances=problems,
    evaluate=_same_atoms,
    near_miss=lambda problem: _same_atoms(problem, normalised=True),
)
