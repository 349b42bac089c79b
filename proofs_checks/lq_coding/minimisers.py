"""Claims about all minimisers of small problems: the ladder from local to global, and what CEL0 adds to it."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding import cd_l0, enumerate_l0_minima, sbr
from sparsetheory.coding.l0.enumeration import L0Minima
from sparsetheory.penalties import CEL0, L0
from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.lq_coding.instances import (
    EPS,
    Coding,
    classic,
    codings,
    decades,
    draw_coding,
    objective,
    ours,
)
from sparsetheory.proofs_checks.lq_coding.runs import take_steps
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array, FloatArray

_SOUBIES = "Soubies, Blanc-Féraud, Aubert, SIAM J. Imaging Sci. 8 (2015)"
# Atoms that are nearly dependent leave the enumeration, and coordinate descent, more to rounding than to alpha.
_CALM = ("gaussian", "orthogonal", "common part", "duplicates", "integers")


@dataclass(frozen=True)
class _Small:
    """A problem whose supports can all be tried, and two steps in units of 1/L."""

    coding: Coding
    alpha: float
    fraction: float
    longer: float

    def minima(self) -> L0Minima:
        return enumerate_l0_minima(self.coding.x, self.coding.A.T, alpha=self.alpha)


def _small(max_n: int = 7, kinds: tuple[str, ...] | None = None) -> st.SearchStrategy[_Small]:
    def build(coding: Coding, part: float, fractions: list[float]) -> _Small:
        return _Small(coding, part * (float(coding.x @ coding.x) / 2 or 1.0), *sorted(fractions))

    return st.builds(
        build,
        codings(max_m=7, max_n=max_n, kinds=kinds),
        decades(-4, 0),
        st.lists(st.sampled_from([0.01, 0.99]) | st.floats(0.001, 0.99), min_size=2, max_size=2),
    )


def _supports(codes: Iterable[Float64Array]) -> set[bytes]:
    return {(code != 0).tobytes() for code in codes}


def _on_supports(problem: _Small) -> dict[bytes, tuple[Float64Array, float]]:
    """Return least squares and its objective on every support of independent atoms, by a general solver."""
    coding, found = problem.coding, {}
    for bits in range(2**coding.norms.size):
        support = bits >> np.arange(coding.norms.size) & 1 == 1
        code = np.zeros(coding.norms.size)
        if support.any():
            unit = coding.A[:, support] / coding.norms[support]
            solved, _, rank, _ = np.linalg.lstsq(unit, coding.x, rcond=1e-10)
            if rank < support.sum():
                continue
            code[support] = solved / coding.norms[support]
        residual = coding.x - coding.A @ code
        found[support.tobytes()] = code, float(residual @ residual) / 2 + problem.alpha * float(support.sum())
    return found


def _gain_of_thresholding(problem: _Small, code: Float64Array, step: float) -> float:
    r"""Return by how much a step of iterative hard thresholding improves the objective of its operator, over the step.

    That objective is :math:`\tfrac1{2\tau} (z - u)^2 + \lambda 1\{z \ne 0\}` for every entry of
    :math:`u = c - \tau \nabla f(c)`: zero or u itself is its minimiser.
    """
    u = code - step * problem.coding.gradient(code)
    values = [(z - u) ** 2 / (2 * step) + problem.alpha * (z != 0) for z in (code, np.zeros_like(u), u)]
    return float(np.max(values[0] - np.minimum(values[1], values[2])))


def _gain_of_one_entry(problem: _Small, code: Float64Array) -> float:
    """Return by how much another value of one entry lowers the objective: zero, or least squares in it alone."""
    coding, n = problem.coding, code.size
    best = code - coding.gradient(code) / coding.norms**2
    codes = np.tile(code, (2 * n + 1, 1))
    codes[1:].reshape(2, n, n)[:, np.arange(n), np.arange(n)] = np.zeros(n), best
    losses = np.sum((coding.x - codes @ coding.A.T) ** 2, axis=1) / 2
    objectives = losses + problem.alpha * np.count_nonzero(codes, axis=1)
    return float(objectives[0] - objectives.min())


def _gain_of_one_atom(table: dict[bytes, tuple[Float64Array, float]], support: BoolArray, here: float) -> float:
    """Return by how much the addition or removal of an atom lowers the objective, with least squares after it."""
    neighbours = (np.where(np.arange(support.size) == i, ~support, support).tobytes() for i in range(support.size))
    return max(0.0, *(here - table[key][1] for key in neighbours if key in table))


def _ladder(problem: _Small, steps: Iterable[float]) -> tuple[FloatArray, FloatArray, list[bytes]]:
    """Return, for all local minimisers, what each kind of change gains, what rounding leaves of it, and the supports.

    Columns are the two steps of thresholding, single entries, single atoms, and all supports.
    """
    coding, table = problem.coding, _on_supports(problem)
    least = min(here for _, here in table.values())
    gains, sizes, keys = [], [], []
    for key, (code, here) in table.items():
        support = np.frombuffer(key, dtype=np.bool_)
        if np.any(np.abs(code * coding.norms)[support] <= 1e-9 * np.linalg.norm(coding.x)):
            # An entry is zero but for rounding: the minimiser of a smaller support.
            continue
        keys.append(key)
        thresholding = [_gain_of_thresholding(problem, code, step / coding.L) for step in steps]
        one_atom = _gain_of_one_atom(table, support, here)
        gains.append([*thresholding, _gain_of_one_entry(problem, code), one_atom, here - least])
        sizes.append((np.linalg.norm(coding.x) + np.abs(code) @ coding.norms) ** 2)
    return np.array(gains), 1e3 * EPS * np.array(sizes), keys


def _disagreements(problem: _Small, gains: FloatArray, rounding: FloatArray, keys: list[bytes]) -> int:
    """Count supports that the library lists on a rung where something gains, or leaves out where nothing does."""
    minima, row, wrong = problem.minima(), {key: i for i, key in enumerate(keys)}, 0
    steps = (problem.fraction / problem.coding.L, problem.longer / problem.coding.L)
    for column, codes in enumerate((*(minima.iht_fixed(t) for t in steps), minima.cel0, minima.sbr, minima.global_)):
        listed = [row[(code != 0).tobytes()] for code in codes if (code != 0).tobytes() in row]
        wrong += int(np.sum(gains[listed, column] > rounding[listed]))
        # A removal that costs nothing leaves the minimiser of a smaller support.
        proper = {(code != 0).tobytes() for code in minima.local}
        missing = [i for key, i in row.items() if i not in listed and key in proper]
        wrong += int(np.sum(gains[missing, column] < -rounding[missing]))
        wrong += int(np.sum(gains[missing, column] == 0)) if column < 3 else 0
    return wrong


def _nested(problem: _Small, *, backwards: bool = False) -> Measurement:
    r"""Order what each kind of change gains at every local minimiser, and count where nothing is gained.

    Least squares leaves no correlations :math:`\rho_i` on the support. There a step of hard thresholding gains
    :math:`(\lambda - c_i^2 / 2\tau)_+`, off it :math:`(\tau \rho_i^2 / 2 - \lambda)_+`: both grow with the step, up to
    :math:`1/a_i^2 \ge 1/L`, where they are what the best value of the entry alone gains. With least squares after it
    the change gains at least as much, and no change gains more than the distance from the minimum. So who cannot be
    improved by one kind cannot be improved by those before.
    """
    gains, rounding, keys = _ladder(problem, (problem.fraction, problem.longer))
    order = [1, 0, 2, 3, 4] if backwards else slice(None)
    rises = bool(np.all(np.diff(gains[:, order], axis=1) >= -rounding[:, None]))
    right = rises and _disagreements(problem, gains, rounding, keys) == 0
    fixed = np.sum(gains <= rounding[:, None], axis=0, dtype=float)
    names = ("critical points of CEL0", "stable under single replacement", "global minimisers")
    return Measurement(fixed[0] if right else np.inf, float(len(keys)), extras=dict(zip(names, fixed[2:], strict=True)))


def _draw_small(rng: np.random.Generator, fraction: float) -> _Small:
    coding = draw_coding("gaussian", "sparse", 5, 8, 0.0, int(rng.integers(2**32)))
    return _Small(coding, 0.1 * float(np.max(coding.correlations**2)) / 2, fraction, max(fraction, 0.99))


nested_minimisers = Claim(
    name="lq_coding.nested_minimisers",
    summary="What a stronger kind of change cannot improve, no weaker one improves either.",
    statement=r"g_{\tau_1} \le g_{\tau_2} \le g_{\text{entry}} \le g_{\text{atom}} \le F - F^*"
    r" \text{ at local minimisers, so } \mathrm{Fix}_{\tau_1} \supseteq \mathrm{Fix}_{\tau_2} \supseteq"
    r" \{\text{CEL0}\} \supseteq \{\text{SBR-stable}\} \supseteq \{\text{global}\},"
    r" \ \tau_1 \le \tau_2 < 1/L",
    source=ours("ladder of minimisers of l0, for atoms of any norm"),
    verdict=Always(0.0),
    instances=_small,
    evaluate=_nested,
    near_miss=lambda problem: _nested(problem, backwards=True),
    sweep=Sweep(
        axis="step times L",
        values=(0.01, 0.03, 0.1, 0.3, 0.99),
        draw=_draw_small,
        trials=40,
        quick_trials=5,
        log="xy",
        measured_label="fixed points of iterative hard thresholding",
        y_label="number of points",
        bound_label="local minimisers of l0",
    ),
)


def _converged_descent(problem: _Small, rule: str) -> FloatArray:
    """Return the code of coordinate descent if it met its tolerance, which nearly equal atoms may keep it from."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        codes = cd_l0(problem.coding.X, problem.coding.A.T, alpha=problem.alpha, rule=rule, tol=1e-10).codes
    return codes[:0] if caught else codes


def _where_solvers_end(problem: _Small, *, confuse: bool = False) -> Measurement:
    """Count codes of the local searches whose supports are not on the rung that they must reach.

    The rungs list supports of independent atoms; coordinate descent may also end on others.
    """
    X, A, minima = problem.coding.X, problem.coding.A, problem.minima()
    codes = [code for rule in ("greedy", "cyclic") for code in _converged_descent(problem, rule)]
    descent = _supports(c for c in codes if np.linalg.matrix_rank(A[:, c != 0], 1e-6) == np.count_nonzero(c))
    replacement = _supports(sbr(X, A.T, alpha=problem.alpha).codes)
    rungs = _supports(minima.cel0), _supports(minima.sbr)
    if confuse:
        return Measurement(float(len(descent - rungs[1])), 0.0, 1.0)
    return Measurement(float(len(descent - rungs[0]) + len(replacement - rungs[1])), 0.0, 1.0)


solvers_on_the_ladder = Claim(
    name="lq_coding.solvers_on_the_ladder",
    summary="Each local search ends at minimisers of its own kind.",
    statement=r"\text{coordinate descent ends at critical points of CEL0, SBR at points without a better replacement}",
    source=ours("what local searches reach, against all minimisers"),
    verdict=Always(0.0),
    instances=lambda: _small().filter(lambda problem: np.linalg.norm(problem.coding.x) > 0),
    evaluate=_where_solvers_end,
    near_miss=lambda problem: _where_solvers_end(problem, confuse=True),
)


def _exactness(problem: _Small, *, one_norm_for_all: bool = False) -> Measurement:
    r"""Compare the minimum of l0, over all supports, with what CEL0 reaches from many starts, and both pointwise.

    CEL0 lies below l0 everywhere, and setting entries below their knees to zero turns one of its minimisers into one of
    l0 without changing the value; so the minima are equal, and CEL0 agrees with l0 at the minimisers of l0.
    """
    coding, alpha, minima = problem.coding, problem.alpha, problem.minima()
    cel0, l0 = CEL0(alpha, coding.norms.min() if one_norm_for_all else coding.norms), L0(alpha)
    starts = coding.rng().standard_normal((6, coding.norms.size)) / coding.norms
    starts *= np.linalg.norm(coding.x) * (coding.rng().random(starts.shape) < 0.5)
    ends = [take_steps(coding, cel0, 0.99 / coding.L, 60, start)[0] for start in [*starts, *minima.local[:6]]]
    least = float(minima.objective[0])
    reached = min(objective(coding, cel0, end) for end in ends)
    pointwise = [(objective(coding, cel0, c), objective(coding, l0, c)) for c in [*starts, *ends]]
    at_minima = max(abs(objective(coding, cel0, c) - least) for c in minima.global_)
    scale = float(coding.x @ coding.x) + max(sharp for _, sharp in pointwise)
    left, right = [least, at_minima, *(p[0] for p in pointwise)], [reached, 0.0, *(p[1] for p in pointwise)]
    return Measurement.worst(left, right, max(scale, 1e-300))


exactness = Claim(
    name="lq_coding.exactness",
    summary="CEL0 and l0 have the same minimum.",
    statement=r"\min F_{\mathrm{CEL0}} = \min F_0, \quad \arg\min F_0 \subseteq \arg\min F_{\mathrm{CEL0}},"
    r" \quad F_{\mathrm{CEL0}} \le F_0",
    source=classic(_SOUBIES, "same global minimisers"),
    # Least squares on supports of condition up to 1e7, whose objectives the enumeration allows 64 u over their distance
    # to dependence.
    verdict=Always(1e-8),
    instances=lambda: _small(6),
    evaluate=_exactness,
    near_miss=lambda problem: _exactness(problem, one_norm_for_all=True),
)
