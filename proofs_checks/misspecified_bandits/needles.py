"""Claims about needles: nobody finds them with few queries, and the features that hide them are what they should be."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bandits import (
    NeedleInstance,
    bounds,
    make_basis_needle,
    make_jl_needle,
    make_needle,
    make_reed_solomon_needle,
    make_sparse_jl,
)
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.misspecified_bandits.algorithms import ALGORITHMS, Hunt, draw_needle
from sparsetheory.proofs_checks.misspecified_bandits.instances import seeds
from sparsetheory.proofs_checks.misspecified_bandits.sources import du_kakade
from sparsetheory.proofs_checks.verdicts import Always, Attains, WithProbability

_FEW = "distinct misses say nothing more about a uniform needle"


@dataclass(frozen=True)
class _Field:
    """All needles among the same actions, an algorithm, and a budget."""

    maker: str
    name: str
    budget: int

    def needles(self) -> list[NeedleInstance]:
        """Return one problem for each action that may be the needle."""
        if self.maker == "code":
            return [make_reed_solomon_needle(3, 2, 2, needle) for needle in range(9)]
        maker = make_basis_needle if self.maker == "basis" else make_needle
        found: dict[int, NeedleInstance] = {}
        seed = 0
        while len(found) < 8:  # these makers take no needle, but draw one
            needle = maker(8, random_state=seed)
            found[needle.needle] = needle
            seed += 1
        return list(found.values())


def _fields() -> st.SearchStrategy[_Field]:
    return st.builds(
        _Field, st.sampled_from(["code", "basis", "none"]), st.sampled_from(list(ALGORITHMS)), st.integers(0, 7)
    )


def _found(field: _Field, share: float = 1.0) -> Measurement:
    """Count the needles that an algorithm finds within its budget, among all there are.

    Until it asks about the needle, its answers are those of every other needle that it has not asked about. So it finds
    those of its queries, of which there are n, and one more if it guesses well.
    """
    needles = field.needles()
    found = sum(Hunt(needle, field.name).gap(field.budget) == 0 for needle in needles)
    K = len(needles)
    return Measurement(found, share * K * bounds.needle_success(field.budget, K))


needles_found = Claim(
    name="misspecified_bandits.needles_found",
    summary="Of all possible needles an algorithm with n queries finds at most n + 1.",
    statement=r"\#\{a : \hat a = a \text{ when } a \text{ is the needle}\} \le n + 1",
    source=Source.ours(f"counting: {_FEW}"),
    verdict=Always(1e-12),
    instances=_fields,
    evaluate=_found,
    # Half a success for each query.
    near_miss=lambda field: _found(field, share=0.5),
)


def _draw_hunt(rng: np.random.Generator, which: float) -> Hunt:
    return Hunt(draw_needle(rng), list(ALGORITHMS)[int(which)])


def _hunt(hunt: Hunt) -> Measurement:
    """Compare the gap after queries of a twentieth of the actions with half of what the needle earns.

    The needle is uniform, so the chance of finding it with n queries and a guess is at most (n + 1) / K. Algorithms are
    numbered from 0 on: CoreSetBandit, SupportNetSearch, SupportGreedy, SupportDesignNet, AdaptiveSupportSearch,
    OptimisticElimination, SparseRegressionBandit, PhasedElimination, ESTC, LinUCB.
    """
    return Measurement(hunt.gap(hunt.needle.n_actions // 20 - 1), 0.5)


def _half(hunt: Hunt) -> Measurement:
    """Ask about every second action: that finds every second needle, with any features."""
    return Measurement(float(hunt.needle.needle % 2), 0.5)


needle_hardness = Claim(
    name="misspecified_bandits.needle_hardness",
    summary="Every algorithm of the package misses a needle 95 times in 100, if it may ask a twentieth of the actions.",
    statement=r"P(r_{\hat a} = 0) \ge 1 - \tfrac{n + 1}{K} \ge 0.95",
    source=Source.ours(f"{_FEW}; the needle is that of Du, Kakade, Wang and Yang (2020)"),
    verdict=Attains(0.95, margin=0.15),
    evaluate=_hunt,
    near_miss=_half,
    sweep=Sweep(
        axis="number of the algorithm",
        values=tuple(float(number) for number in range(len(ALGORITHMS))),
        draw=_draw_hunt,
        trials=400,
        quick_trials=100,
        measured_label="gap",
        bound_label="half of what the needle earns",
    ),
)


def _draw_basis(rng: np.random.Generator, d: float) -> Hunt:
    return Hunt(make_basis_needle(int(d), random_state=rng), str(rng.choice(list(ALGORITHMS))))


no_bound_without_dimension = Claim(
    name="misspecified_bandits.no_bound_without_dimension",
    summary="With unit vectors as features even one non-zero and eps = 0 take a query for each feature.",
    statement=r"\phi(a) = e_a,\ \theta^* = e_j,\ s = 1,\ \varepsilon = 0,\ n \le d / 20 - 1"
    r" \implies P(r_{\hat a} = 0) \ge 0.95",
    source=Source.ours(f"unit vectors as features: {_FEW}"),
    verdict=Attains(0.95, margin=0.15),
    evaluate=_hunt,
    near_miss=_half,
    sweep=Sweep(
        axis="features d",
        values=(20.0, 60.0, 180.0),
        draw=_draw_basis,
        trials=400,
        quick_trials=100,
        log="x",
        measured_label="gap",
        bound_label="half of what the needle earns",
    ),
)


def _codes() -> st.SearchStrategy[tuple[tuple[int, int, int], bool, int]]:
    sizes = [(3, 2, 2), (3, 3, 2), (3, 3, 3), (5, 2, 2), (5, 4, 2), (5, 4, 3), (5, 5, 3), (7, 6, 2), (7, 4, 3)]
    return st.tuples(st.sampled_from(sizes), st.booleans(), seeds)


def _code(drawn: tuple[tuple[int, int, int], bool, int], *, full_rank: bool = False) -> Measurement:
    r"""Compare coherence, misspecification, rank and leverages of the code with what they are said to be.

    Two polynomials of degree below k agree in at most k - 1 places. Over all of them the values at two places are
    independent, so :math:`V = \Phi^T \Phi / K` has the eigenvalue 1/q once, 1/(sq) exactly s (q - 1) times, and else
    zero. Each row has the leverage 1 + s (q - 1), the rank: uniform weights are G-optimal. So the guarantee of least
    squares on all features says nothing: it exceeds what the needle earns.
    """
    (q, s, k), centred, seed = drawn
    needle = make_reed_solomon_needle(q, s, k, centred=centred, random_state=seed)
    Phi = needle.features()
    gram = Phi @ Phi.T
    rank = s * q if full_rank else s * (q - 1) + 1
    mu = (k - 1) / s
    leverages = np.einsum("ij,ij->i", Phi @ np.linalg.pinv(Phi.T @ Phi / len(Phi), rcond=1e-9), Phi)
    pairs = {
        float(np.max(gram - np.eye(len(gram)))): mu,
        float(np.abs(needle.rewards - Phi @ needle.theta).max()): mu / (1 + mu) if centred else mu,
        float(np.linalg.matrix_rank(Phi)): rank,
        float(leverages.max()): rank,
        float(leverages.min()): rank,
        needle.eps: mu / (1 + mu) if centred else mu,
    }
    differences = [abs(measured - said) for measured, said in pairs.items()]
    return Measurement.worst([*differences, 1.0], [*[0.0] * len(pairs), bounds.one_shot(needle.eps, rank)], 1.0)


reed_solomon = Claim(
    name="misspecified_bandits.reed_solomon",
    summary="Sparse features from codes: coherence, misspecification, rank and the optimal design are known exactly.",
    statement=r"\max_{a \ne b} \phi_a^T \phi_b = \tfrac{k-1}{s} = \varepsilon, \quad"
    r" \phi_a^T V^{-1} \phi_a = \mathrm{rank}\, \Phi = s (q - 1) + 1 \text{ for all } a",
    source=Source.ours("Reed-Solomon codes as features of a needle"),
    verdict=Always(1e-9),
    instances=_codes,
    evaluate=_code,
    # The number of features in place of the rank.
    near_miss=lambda drawn: _code(drawn, full_rank=True),
)


def _coherence(needle: NeedleInstance, tau: float, share: float = 1.0) -> Measurement:
    """Compare the largest inner product of two rows, which the misspecification does not exceed, with tau."""
    Phi = needle.features()
    products = np.abs(Phi @ Phi.T - np.diag(np.square(Phi).sum(axis=1)))
    error = float(np.abs(needle.rewards - Phi @ needle.theta).max())
    return Measurement(float(products.max()) / tau, share, extras={"misspecification": error / tau})


def _draw_dense(rng: np.random.Generator, n: float) -> tuple[NeedleInstance, float]:
    tau = float(rng.choice([0.4, 0.5, 0.7]))
    return make_jl_needle(int(n), tau, random_state=rng), tau


dense_needle = Claim(
    name="misspecified_bandits.dense_needle",
    summary="Random directions hide a needle: in 8 log(K) over tau squared dimensions inner products are at most tau.",
    statement=r"d \ge 8 \log K / \tau^2 \implies \max_a |r_a - \phi_a^T \theta^*| \le"
    r" \max_{a \ne b} |\phi_a^T \phi_b| \le \tau",
    source=du_kakade("nearly orthogonal features, by Johnson and Lindenstrauss"),
    verdict=WithProbability(0.95, margin=0.15),
    evaluate=lambda drawn: _coherence(*drawn),
    near_miss=lambda drawn: _coherence(drawn[0], drawn[1], share=0.6),
    sweep=Sweep(
        axis="actions K",
        values=(50.0, 200.0, 800.0),
        draw=_draw_dense,
        trials=50,
        quick_trials=21,
        log="x",
        measured_label="largest inner product",
        bound_label="tau",
        y_label="in units of tau",
    ),
)


def _draw_sparse(rng: np.random.Generator, n: float) -> tuple[NeedleInstance, float]:
    tau = float(rng.choice([0.4, 0.5, 0.7]))
    return make_sparse_jl(int(n), tau, fail=0.05, random_state=rng), tau


sparse_needle = Claim(
    name="misspecified_bandits.sparse_needle",
    summary="Random signs, one in each of s blocks, hide a needle too: inner products are at most tau.",
    statement=r"s \ge \bigl(\tfrac{10}{3} \log K + \tfrac53 \log \tfrac1\delta\bigr) / \tau,\ q = \lceil 2/\tau \rceil"
    r" \implies P\Bigl(\max_{a \ne b} |\phi_a^T \phi_b| \le \tau\Bigr) \ge 1 - \delta",
    source=Source.ours("Bernstein's inequality for sparse random features"),
    verdict=WithProbability(0.95, margin=0.15),
    evaluate=lambda drawn: _coherence(*drawn),
    near_miss=lambda drawn: _coherence(drawn[0], drawn[1], share=0.5),
    sweep=Sweep(
        axis="actions K",
        values=(50.0, 200.0, 800.0),
        draw=_draw_sparse,
        trials=50,
        quick_trials=21,
        log="x",
        measured_label="largest inner product",
        bound_label="tau",
        y_label="in units of tau",
    ),
)
