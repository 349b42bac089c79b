"""Small problems with rational reference arithmetic: supports of any condition, dependent ones included.

Entries of a matrix in double precision are rational numbers. Gram matrices, squared distances and inverses of Gram
matrices are therefore computed without rounding, and only their square roots are rounded at the end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["ROUNDING", "ExactProblem", "exact_problems"]

_Matrix = list[list[Fraction]]
# A backward-stable factorisation of up to 4 columns of up to 10 rows, times the condition of the columns, which is
# part of the scale of a measurement.
ROUNDING = 20 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class ExactProblem:
    """A few columns: a support and anchors.

    Parameters
    ----------
    X : ndarray of shape (N, k + m)
        The support in front, anchors behind it.
    k : int
        Size of the support.
    rng_seed : int
        Seed of whatever a claim draws besides.
    """

    X: Float64Array
    k: int
    rng_seed: int

    @property
    def support(self) -> IndexArray:
        """Columns of the support."""
        return np.arange(self.k)

    @property
    def anchors(self) -> IndexArray:
        """Columns of the anchors."""
        return np.arange(self.k, self.X.shape[1])

    @property
    def norms(self) -> Float64Array:
        """Root mean squares of all columns."""
        return np.sqrt(np.mean(self.X**2, axis=0))

    @cached_property
    def gram(self) -> _Matrix:
        """Inner products of all columns, over the number of rows, exactly."""
        columns = [[Fraction(float(value)) for value in column] for column in self.X.T]
        n = len(self.X)
        return [[sum((a * b for a, b in zip(p, q, strict=True)), Fraction(0)) / n for q in columns] for p in columns]

    def distance(self, column: int, others: Iterable[int]) -> float:
        """Return the root-mean-square distance of a column to the span of others, dependent or not."""
        order = [*map(int, others), int(column)]
        G = [[self.gram[i][j] for j in order] for i in order]
        for p in range(len(order) - 1):
            # A column in the span of those before it has a zero pivot, hence a zero row, and adds nothing.
            if G[p][p] != 0:
                for i in range(p + 1, len(order)):
                    factor = G[i][p] / G[p][p]
                    G[i] = [a - factor * b for a, b in zip(G[i], G[p], strict=True)]
        return float(G[-1][-1]) ** 0.5

    def anchor_distances(self) -> Float64Array:
        """Distances of all columns to the span of the anchors."""
        return np.array([self.distance(i, self.anchors) for i in range(self.X.shape[1])])

    def leave_one_out(self, kept: Sequence[int]) -> Float64Array:
        """Distances of some columns to the span of the others among them."""
        return np.array([self.distance(i, [j for j in kept if j != i]) for i in kept])

    def spans(self, kept: Sequence[int]) -> bool:
        """Whether some columns are independent and span the support."""
        independent = all(distance > 0 for distance in self.leave_one_out(kept))
        return independent and all(self.distance(i, kept) == 0 for i in self.support if i not in kept)

    def inverse_gram(self, kept: Sequence[int]) -> Float64Array:
        """Inverse of the Gram matrix of independent columns, rounded once."""
        size = len(kept)
        rows = [[self.gram[i][j] for j in kept] + [Fraction(i == j) for j in kept] for i in kept]
        for p in range(size):
            rows[p] = [a / rows[p][p] for a in rows[p]]
            for i in range(size):
                if i != p:
                    rows[i] = [a - rows[i][p] * b for a, b in zip(rows[i], rows[p], strict=True)]
        return np.array([[float(a) for a in row[size:]] for row in rows]).reshape(size, size)

    def size(self, kept: Sequence[int], w: Float64Array) -> float:
        """Root mean square of a combination of columns, however much it cancels."""
        exact = [Fraction(float(value)) for value in w]
        pairs = [
            (a * b, self.gram[i][j]) for a, i in zip(exact, kept, strict=True) for b, j in zip(exact, kept, strict=True)
        ]
        return float(sum(weight * product for weight, product in pairs)) ** 0.5


def _draw(n: int, k: int, m: int, kinds: list[str], digits: float, seed: int) -> ExactProblem:
    """Draw anchors and a support whose columns are new, or come close to, or depend on, those before them."""
    rng = np.random.default_rng(seed)
    # Small integers: doubling them and adding them up is exact, and so are dependences.
    whole = [rng.integers(-9, 10, n).astype(float) + np.eye(n)[0] / 2 for _ in range(m)]
    columns = list(whole)
    for kind in kinds[:k]:
        other = columns[rng.integers(len(columns))] if columns else np.ones(n)
        if kind == "close":
            columns.append(other + 10.0**-digits * rng.standard_normal(n))
        elif kind == "dependent" and columns:
            columns.append(sum(whole) if whole and rng.random() < 0.5 else 2 * other)
        else:
            whole.append(rng.integers(-9, 10, n).astype(float) + np.eye(n)[1] / 4)
            columns.append(whole[-1])
    X = np.array([*columns[m:], *columns[:m]]).T
    return ExactProblem(np.asfortranarray(X), k, int(rng.integers(2**31)))


def exact_problems() -> st.SearchStrategy[ExactProblem]:
    """Search supports of up to 4 columns, up to 3 anchors, and distances over twelve decades and zero."""
    return st.builds(
        _draw,
        st.integers(8, 10),
        st.integers(1, 4),
        st.integers(0, 3),
        st.lists(st.sampled_from(["new", "close", "dependent"]), min_size=4, max_size=4),
        st.floats(0.0, 11.0),
        st.integers(0, 2**32 - 1),
    )
