"""Claims about plans with sparse linear values: what optimism loses, and a tree in which nobody finds the leaf."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bandits import RandomMDP, SparseOliveRL, TabularMDP, TreeMDP, make_random_mdp, make_tree_mdp
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.misspecified_bandits.instances import seeds, whatever_the_bound
from sparsetheory.proofs_checks.verdicts import Always, Attains
from sparsetheory.typing import Float64Array

# Sums over a few states and levels.
_ROUNDING = 1e-11


def _values(mdp: TabularMDP, policy: list[Float64Array] | None = None) -> list[Float64Array]:
    """Return the value of each action by going back from the last level: of a random policy, or of the best one."""
    ahead, found = np.zeros(0), list[Float64Array]()
    for level in range(len(mdp.rewards) - 1, -1, -1):
        values = np.array(mdp.rewards[level])
        if level < len(mdp.rewards) - 1:
            values += np.asarray(mdp.transitions[level] @ ahead).reshape(values.shape)
        ahead = values.max(axis=1) if policy is None else (policy[level] * values).sum(axis=1)
        found.insert(0, values)
    return found


@dataclass(frozen=True, eq=False)
class _Plan:
    """A random problem, candidates of which the good ones are moved by rho, and the plan for them."""

    problem: RandomMDP
    rho: float
    seed: int

    def __repr__(self) -> str:
        """Show sizes."""
        shapes = [level.shape for level in self.problem.features]
        return f"_Plan(features of shapes {shapes}, eps={self.problem.eps}, rho={self.rho}, seed={self.seed})"

    @property
    def error(self) -> float:
        """What the good candidates err by, at most; rows have length one."""
        return self.problem.eps + self.rho

    @cached_property
    def good(self) -> list[int]:
        """The number of the good candidate of each level."""
        pairs = zip(self.problem.candidates, self.problem.theta, strict=True)
        return [int(np.argmin(np.linalg.norm(among - theta, axis=1))) for among, theta in pairs]

    @cached_property
    def candidates(self) -> list[Float64Array]:
        """The candidates, the good ones moved, and the others longer or shorter than the truth."""
        rng = np.random.default_rng(self.seed)
        moved = []
        for among, good in zip(self.problem.candidates, self.good, strict=True):
            scaled = among * rng.uniform(0.5, 2.0, (len(among), 1))
            direction = rng.standard_normal(among.shape[1])
            scaled[good] = among[good] + self.rho * direction / np.linalg.norm(direction)
            moved.append(scaled)
        return moved

    @cached_property
    def end(self) -> SparseOliveRL:
        """The plan."""
        with whatever_the_bound():
            planner = SparseOliveRL(self.problem.eps, rho=self.rho)
            return planner.fit(self.problem.mdp, self.problem.features, self.candidates)


def _plan(H: int, S: int, A: int, d: int, s: int, eps: float, rho: float, n: int, seed: int) -> _Plan:
    problem = make_random_mdp(H, S, A, d, min(s, d), eps, n_candidates=n, random_state=seed)
    return _Plan(problem, rho, seed)


def _plans() -> st.SearchStrategy[_Plan]:
    sizes = st.integers(1, 5), st.integers(1, 6), st.integers(1, 4), st.integers(2, 6), st.integers(1, 2)
    errors = st.sampled_from([0.0, 0.03, 0.1, 0.3]), st.sampled_from([0.0, 0.05, 0.2])
    return st.builds(_plan, *sizes, *errors, st.integers(0, 30), seeds)


def _lost(plan: _Plan, levels: float = 2.0) -> Measurement:
    """Compare what the plan earns less than the best one with (2 H + 1) errors of good candidates.

    The most optimistic candidate of the first level promises at least what the good one does, the best value less e.
    In each level the promise exceeds what is earned, and what the next level promises, by at most 2 e, or the candidate
    would have been dropped.
    """
    mdp, H = plan.problem.mdp, len(plan.problem.theta)
    policy = [np.eye(level.shape[1])[chosen] for level, chosen in zip(mdp.rewards, plan.end.policy_, strict=True)]
    best = float(mdp.initial @ _values(mdp)[0].max(axis=1))
    own = float(mdp.initial @ (policy[0] * _values(mdp, policy)[0]).sum(axis=1))
    return Measurement(best - own, (levels * H + 1) * plan.error, 1.0 + plan.error)


optimistic_plan = Claim(
    name="misspecified_bandits.optimistic_plan",
    summary="Trusting the most optimistic sparse values until they are refuted loses 2 H + 1 times their error.",
    statement=r"V^* - V^{\hat\pi} \le (2H + 1)(\varepsilon + L \rho)",
    source=Source.ours("optimistic elimination level by level, after Du, Yang and Wang (2024, arXiv:2407.13622)"),
    verdict=Always(_ROUNDING),
    instances=_plans,
    evaluate=_lost,
    # As if errors of later levels did not matter.
    near_miss=lambda plan: _lost(plan, levels=0.0),
)


def _dropped(plan: _Plan, *, halved: bool = False) -> Measurement:
    """Count good candidates that were dropped, and compare rounds with the number of all candidates."""
    dropped = sum(good in removed for good, removed in zip(plan.good, plan.end.removed_, strict=True))
    most = sum(map(len, plan.candidates)) + 1
    return Measurement.worst([dropped, plan.end.n_rounds_], [0.0, most / 2 if halved else most])


plan_survival = Claim(
    name="misspecified_bandits.plan_survival",
    summary="Good candidates are never dropped, and every round but the last drops another one.",
    statement=r"\|Q^*_h - \phi_h \theta\|_\infty \le e \implies \theta \text{ survives}, \quad"
    r" \#\text{rounds} \le 1 + \sum_h |P_h|",
    source=Source.ours("optimistic elimination, level by level"),
    verdict=Always(0.0),
    instances=_plans,
    evaluate=_dropped,
    near_miss=lambda plan: _dropped(plan, halved=True),
)


def _tree(size: tuple[int, int, int, int, int], value: float, seed: int) -> tuple[TreeMDP, int]:
    H, A, q, s, k = size
    return make_tree_mdp(H, A, value, q, s, k, random_state=seed), seed


def _trees() -> st.SearchStrategy[tuple[TreeMDP, int]]:
    sizes = [(1, 3, 3, 2, 2), (3, 2, 3, 3, 2), (4, 2, 5, 4, 2), (2, 5, 5, 5, 2), (5, 2, 7, 6, 2), (4, 3, 7, 5, 3)]
    return st.builds(_tree, st.sampled_from(sizes), st.sampled_from([0.1, 1.0, 10.0]), seeds)


def _misfit(drawn: tuple[TreeMDP, int], share: float = 1.0) -> Measurement:
    """Compare errors of one sparse linear function per level with the misspecification, for a random policy.

    Under any policy the pair on the path earns some x from 0 to v, and all others nothing. So x times the features of
    that pair explains a level up to x times the coherence of the code.
    """
    tree, seed = drawn
    rng, mdp = np.random.default_rng(seed), tree.mdp
    policy = [rng.dirichlet(np.full(level.shape[1], 0.3), len(level)) for level in mdp.rewards]
    if seed % 2:  # the best policy attains it
        policy = [np.where(level == level.max(axis=1, keepdims=True), 1.0, 0.0) for level in _values(mdp)]
        policy = [level / level.sum(axis=1, keepdims=True) for level in policy]
    errors = []
    for values, features, pair in zip(_values(mdp, policy), tree.features(), tree.pairs(), strict=True):
        rows = features.reshape(values.size, -1)
        errors.append(float(np.abs(values.ravel() - rows @ (values.ravel()[pair] * rows[pair])).max()))
    return Measurement.worst(errors, share * tree.eps, tree.value)


tree_misspecification = Claim(
    name="misspecified_bandits.tree_misspecification",
    summary="In a tree with one leaf that pays the values of every policy are nearly sparse linear.",
    statement=r"\|Q^\pi_h - x_h\, \phi_h \phi_h(\text{path})\|_\infty \le v\, \tfrac{k - 1}{s}"
    r" \text{ for all } \pi, h",
    source=Source.ours("a tree with the features of Reed-Solomon codes"),
    verdict=Always(1e-12),
    instances=_trees,
    evaluate=_misfit,
    near_miss=lambda drawn: _misfit(drawn, share=0.9),
)


@dataclass(frozen=True, eq=False)
class _Hidden:
    """A tree in which one leaf pays, and the plan for it."""

    tree: TreeMDP

    @cached_property
    def rounds(self) -> float:
        """The rounds after which the plan leads to the leaf."""
        tree = self.tree
        with whatever_the_bound():
            planner = SparseOliveRL(tree.eps).fit(tree.mdp, tree.features(), tree.candidates())
        return float(planner.n_rounds_) if planner.value_ > tree.value / 2 else np.inf


def _draw_tree(rng: np.random.Generator, H: float) -> _Hidden:
    """Draw a tree of at most 32 leaves; with an error of 1/12 the plan has to find the one that pays."""
    return _Hidden(make_tree_mdp(int(H), 2, 1.0, q=13, s=12, k=2, random_state=rng))


def _rounds(hidden: _Hidden, share: float = 0.1) -> Measurement:
    """Compare the rounds after which the plan leads to the leaf that pays with a tenth of the number of leaves.

    The tree is deterministic, so the rewards of a round are those of one leaf. Until it is the one that pays, all other
    leaves remain as likely as each other.
    """
    leaves = hidden.tree.mdp.rewards[-1].size
    return Measurement(hidden.rounds, float(np.floor(share * leaves)))


tree_hardness = Claim(
    name="misspecified_bandits.tree_hardness",
    summary="Planning finds the leaf that pays no sooner than whoever tries one leaf after another.",
    statement=r"P\bigl(\hat\pi \text{ reaches the leaf within } n \text{ rounds}\bigr) \le n / A^H,"
    r" \quad n = \lfloor 0.1 A^H \rfloor",
    source=Source.ours("one leaf after another, after Du, Kakade, Wang and Yang (2020); the features are sparse"),
    verdict=Attains(0.9, margin=0.15),
    evaluate=_rounds,
    near_miss=lambda hidden: _rounds(hidden, share=0.5),
    sweep=Sweep(
        axis="levels H",
        values=(4.0, 5.0),
        draw=_draw_tree,
        trials=400,
        quick_trials=100,
        measured_label="rounds",
        bound_label="a tenth of the leaves",
        log="y",
    ),
)
