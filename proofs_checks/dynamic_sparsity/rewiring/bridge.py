"""Claims that join rewiring to sparse regression: on a quadratic its scores are parts of known algorithms."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.regression import omp_gram
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

# Unit columns with a condition of at most some 1e4, as in the layers of this family.
_ROUNDING = 1e-10
_KINDS = ("gaussian", "common factor", "scales", "copies", "zero column", "sum of two")


@dataclass(frozen=True, eq=False)
class Regression:
    """A design, a response, a support and a seed: ``f(w) = |y - Xw|^2 / 2 - |y|^2 / 2``."""

    X: Float64Array
    y: Float64Array
    support: BoolArray
    rng_seed: int
    kind: str = field(default="gaussian")

    @cached_property
    def gram(self) -> Float64Array:
        """``X'X``."""
        return self.X.T @ self.X

    @property
    def scale(self) -> float:
        """Half the energy of the response."""
        return float(self.y @ self.y) / 2

    def quadratic(self, support: BoolArray | None = None) -> Any:
        """Return the quadratic of the package on a support."""
        chosen = tensor(self.support if support is None else support)
        return dynamic.SupportedQuadratic(tensor(self.gram), tensor(self.X.T @ self.y), chosen)

    def least(self, columns: IndexArray | Sequence[int]) -> float:
        """Return the minimum on some columns, by least squares on the design, in units of its columns."""
        chosen = self.X[:, np.asarray(columns, dtype=np.intp)]
        norms = np.linalg.norm(chosen, axis=0)
        unit = chosen[:, norms > 0] / norms[norms > 0]
        rest = self.y - unit @ np.linalg.lstsq(unit, self.y, rcond=1e-7)[0]
        return float(rest @ rest) / 2 - self.scale


def _draw(seed: int, kind: str, size: int) -> Regression:
    rng, p = np.random.default_rng(seed), 9
    X = rng.standard_normal((3 * p, p))
    if kind == "common factor":
        X += rng.standard_normal((3 * p, 1))
    elif kind == "scales":
        X *= np.exp(2.0 * rng.standard_normal(p))
    support = np.zeros(p, dtype=bool)
    support[rng.choice(p, size, replace=False)] = True
    # Columns that depend on each other, in the support or partly outside.
    a, b, c = rng.choice(p, 3, replace=False)
    if kind == "copies":
        X[:, b] = X[:, a] * rng.choice([1.0, -2.0])
    elif kind == "zero column":
        X[:, a] = 0.0
    elif kind == "sum of two":
        X[:, c] = X[:, a] + X[:, b]
    return Regression(X, rng.standard_normal(3 * p) + X @ rng.standard_normal(p), support, seed, kind)


def _regressions(kinds: Sequence[str] = _KINDS) -> st.SearchStrategy[Regression]:
    return st.builds(_draw, seeds, st.sampled_from(kinds), st.integers(1, 6))


def _grown(quadratic: Any) -> BoolArray:
    """Return the support with one entry more: that of the largest gradient."""
    nothing = tensor(np.zeros(len(quadratic.support)))
    return array(core.rewire(quadratic.support, nothing, quadratic.gradient.abs(), 0, 1).mask)


def _growth(problem: Regression, scales: Float64Array) -> Measurement:
    """Count entries in which supports grown one by one differ from those of matching pursuit.

    The gradient at the minimiser is ``-X'r`` with the residual r, so its largest entry is the column of the largest
    inner product with r: the choice of orthogonal matching pursuit for unit columns.
    """
    unit = problem.X / np.linalg.norm(problem.X, axis=0)
    scaled = Regression(unit * scales, problem.y, problem.support, problem.rng_seed)
    correlations, differing = scaled.X.T @ scaled.y, 0
    pursued = np.zeros(len(scales), dtype=bool)
    for count in range(1, 6):
        grown = _grown(scaled.quadratic(pursued))
        pursued = omp_gram(scaled.gram, correlations, n_nonzero=count) != 0
        differing += int((grown != pursued).sum())
    return Measurement(float(differing), 0.0, scale=1.0)


def _unit_columns(problem: Regression) -> Measurement:
    return _growth(problem, np.ones(problem.X.shape[1]))


_unit_columns.__doc__ = _growth.__doc__


def _any_columns(problem: Regression) -> Measurement:
    """Expect the same of columns of any scale, where matching pursuit compares cosines."""
    return _growth(problem, np.linalg.norm(problem.X, axis=0))


gradient_growth = Claim(
    name="dynamic_sparsity.gradient_growth",
    summary="Growing by the largest gradient is the choice of orthogonal matching pursuit for unit columns.",
    statement=r"\arg\max_{j \notin S} |\partial_j f(w_S)| = \arg\max_{j \notin S} |x_j^\top (y - X w_S)|",
    source=Source.ours("the growth of RigL (Evci et al., 1911.11134) on a quadratic"),
    verdict=Always(rtol=0.0),
    # Copies tie exactly, and rounding decides.
    instances=lambda: _regressions(("gaussian", "common factor", "scales")),
    evaluate=_unit_columns,
    near_miss=_any_columns,
)


def _moves(problem: Regression) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return by how much every drop raises the minimum, and every entry and exchange lowers it, by fresh fits."""
    inside, outside = np.flatnonzero(problem.support), np.flatnonzero(~problem.support)
    here = problem.least(inside)
    drops = [problem.least(inside[inside != i]) - here for i in inside]
    gains = [here - problem.least(np.append(inside, j)) for j in outside]
    exchanges = [here - problem.least(np.append(inside[inside != i], j)) for i in inside for j in outside]
    return np.array(drops), np.array(gains), np.array(exchanges)


def _priced(problem: Regression, prices: Float64Array | None = None) -> Measurement:
    """Compare the prices of all moves with fresh least-squares fits.

    Where columns of the support depend on each other, each of them can go for nothing: the others span the same space.
    Where they do not, the prices are those of a swept Gram matrix.
    """
    quadratic, (inside, outside) = problem.quadratic(), (problem.support, ~problem.support)
    drops, gains, exchanges = _moves(problem)
    found = [
        array(quadratic.prices)[inside] if prices is None else prices,
        array(quadratic.gains)[outside],
        array(quadratic.exchange_gains)[np.ix_(inside, outside)].ravel(),
    ]
    off = max(float(np.abs(a - b).max(initial=0.0)) for a, b in zip(found, (drops, gains, exchanges), strict=True))
    return Measurement(off, 0.0, scale=problem.scale)


def _by_the_pseudo_inverse(problem: Regression) -> Measurement:
    """Divide by the diagonal of the pseudo-inverse, as if columns were independent."""
    inside = np.flatnonzero(problem.support)
    inverse = np.linalg.pinv(problem.gram[np.ix_(inside, inside)], rcond=1e-10, hermitian=True)
    weight = inverse @ (problem.X[:, inside].T @ problem.y)
    own = np.diagonal(inverse)
    return _priced(problem, np.divide(weight**2, 2 * own, out=np.zeros_like(own), where=own > 0))


exchange_prices = Claim(
    name="dynamic_sparsity.exchange_prices",
    summary="Prices of dropping, growing and exchanging entries are exact, also where columns depend on each other.",
    statement=r"f(S \setminus i) - f(S) = \tfrac{w_i^2}{2 P_{ii}} \text{ or } 0 \text{ if } x_i \in"
    r" \mathrm{span}(x_{S \setminus i}), \quad f(S) - f(S \cup j) = \tfrac{g_j^2}{2 h_j}",
    source=Source.ours("exact prices for rewiring, singular supports included"),
    verdict=Always(_ROUNDING),
    instances=_regressions,
    evaluate=_priced,
    near_miss=_by_the_pseudo_inverse,
)


def _diagonal(problem: Regression) -> Measurement:
    """Compare prices with all others fixed, from the diagonal alone, with the exact ones.

    To fit the others anew can only lower a cost, and only raise a gain: ``1 / P_ii <= G_ii`` and ``h_j <= G_jj``.
    """
    quadratic, support = problem.quadratic(), problem.support
    curvatures = [tensor(np.diagonal(problem.gram))]
    snapshot = _snapshot(quadratic)
    costs = array(dynamic.curvature_price(curvatures)(snapshot))[support]
    gains = array(dynamic.curvature_gain(curvatures)(snapshot))[~support]
    exact = array(quadratic.prices)[support], array(quadratic.gains)[~support]
    return Measurement.worst([*exact[0], *gains], [*costs, *exact[1]], problem.scale)


def _snapshot(quadratic: Any) -> Any:
    import torch

    from sparsetheory.gpu.core.hooks.snapshots import Snapshot

    support = quadratic.support
    return Snapshot(
        0, 0, support, support, (quadratic.weight,), (quadratic.gradient,), {}, torch.Generator().manual_seed(0)
    )


diagonal_scores = Claim(
    name="dynamic_sparsity.diagonal_scores",
    summary="Prices from the diagonal alone err on one side: costs are never too small, gains never too large.",
    statement=r"\frac{w_i^2}{2 P_{ii}} \le \frac{w_i^2 G_{ii}}{2}, \quad"
    r" \frac{g_j^2}{2 G_{jj}} \le \frac{g_j^2}{2 h_j}",
    source=Source.ours("one-sided prices with the other weights fixed"),
    verdict=Always(_ROUNDING),
    instances=_regressions,
    evaluate=_diagonal,
    near_miss=Reversed(),
)


def _search(problem: Regression, *, guarded: bool) -> Any:
    rng = np.random.default_rng(problem.rng_seed)
    moves = rng.integers(1, 4, 100)
    size = len(problem.support)
    return dynamic.exchange_search(
        tensor(problem.gram),
        tensor(problem.X.T @ problem.y),
        tensor(problem.support),
        moves=lambda step: int(moves[min(step, 99)]),
        max_iter=20 * size,
        guarded=guarded,
    )


def _monotone(problem: Regression) -> Measurement:
    """Compare each round with the one before, and the last one with all exchanges of one entry.

    A round is taken only if the minimum falls by some share of its first value. The number of moves is halved until it
    does; one exchange by exact prices is the last resort. So the search is finite, and none helps where it ends.
    """
    found = _search(problem, guarded=True)
    history = np.array(found.history)
    support = array(found.support)
    inside, outside = np.flatnonzero(support), np.flatnonzero(~support)
    here = problem.least(inside)
    exchanged = [problem.least(np.append(inside[inside != i], j)) for i in inside for j in outside]
    # A search that did not prove that it is done does not count as done.
    unproved = 0.0 if found.swap_optimal else np.inf
    left = [*history[1:], here, found.objective, here + unproved]
    right = [*history[:-1], min(exchanged, default=np.inf), here, here]
    return Measurement.worst(left, right, problem.scale)


def _unguarded(problem: Regression) -> Measurement:
    """Take every round, as prices of several entries were additive."""
    history = np.array(_search(problem, guarded=False).history)
    return Measurement.worst(history[1:], history[:-1], problem.scale)


rewire_swap_monotone = Claim(
    name="dynamic_sparsity.rewire_swap_monotone",
    summary="Guarded rounds of rewiring lower the minimum each time, and end where no exchange of one entry lowers it.",
    statement=r"f(S_{t+1}) < f(S_t), \quad f(S_{\text{end}}) \le f(S_{\text{end}} \setminus i \cup j)"
    r" \text{ for all } i \in S_{\text{end}},\ j \notin S_{\text{end}}",
    source=Source.ours("guarded rewiring with exact prices"),
    verdict=Always(_ROUNDING),
    instances=_regressions,
    evaluate=_monotone,
    near_miss=_unguarded,
)
