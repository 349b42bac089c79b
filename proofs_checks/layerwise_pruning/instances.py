"""Small layers with hard inputs, and what is known of them by least squares on the inputs themselves.

Nothing here uses Gram matrices, prices or masks of the package. The functions are the second way to the same numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["KINDS", "ROUNDING", "Layer", "draw_layer", "group_masks", "layers", "seeds", "swaps"]

# At most 12 columns and a damping of at least 1e-3: in units of its columns a damped Gram matrix has a condition of at
# most 1.2e4. Normal equations lose its product with a few dozen roundings, 1e-10 of the energy of the output.
ROUNDING = 1e-10

KINDS = ("gaussian", "common factor", "walk", "scales", "integers", "copies", "few rows", "dead input")
_DELTAS = (1e-3, 1e-2, 1e-1)

seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True, eq=False)
class Layer:
    """Weights, the inputs they are applied to, and which masks are allowed.

    Parameters
    ----------
    weight : ndarray of shape (rows, p)
    inputs : ndarray of shape (n, p)
    delta : float
        Damping, relative to the diagonal of the Gram matrix.
    n, m : int
        Entries kept of every m consecutive ones; m = p for a count per row.
    rng_seed : int
        Of whatever a claim draws besides.
    """

    weight: Float64Array
    inputs: Float64Array
    delta: float
    n: int
    m: int
    rng_seed: int

    @property
    def p(self) -> int:
        """Inputs of the layer."""
        return self.weight.shape[1]

    @cached_property
    def root(self) -> Float64Array:
        """Rows whose Gram matrix is the damped one: the scaled inputs, and below them the damping."""
        scaled = self.inputs / np.sqrt(len(self.inputs))
        return np.vstack([scaled, np.diag(np.sqrt(self.delta * (scaled**2).sum(0)))])

    @cached_property
    def gram(self) -> Float64Array:
        """Damped Gram matrix H."""
        scaled = self.inputs / np.sqrt(len(self.inputs))
        gram = scaled.T @ scaled
        return gram + self.delta * np.diag(np.diagonal(gram))

    @cached_property
    def energies(self) -> Float64Array:
        """``w'Hw`` of every row."""
        return np.square(self.weight @ self.root.T).sum(1)

    @property
    def scale(self) -> float:
        """Sum of the energies."""
        return float(self.energies.sum())

    @property
    def pattern(self) -> Any:
        """The pattern in torch."""
        from sparsetheory.gpu import core

        return core.NM(self.n, self.m) if self.m < self.p else core.PerRow(self.n)

    @property
    def tensors(self) -> tuple[Any, Any]:
        """Weights and damped Gram matrix in torch."""
        return tensor(self.weight), tensor(self.gram)

    def rng(self) -> np.random.Generator:
        """Return a fresh generator; the same one each time."""
        return np.random.default_rng(self.rng_seed)

    def random_mask(self) -> BoolArray:
        """Return an allowed mask that keeps as many entries as it may."""
        order = self.rng().random((len(self.weight), self.p // self.m, self.m)).argsort(-1)
        return (order < self.n).reshape(self.weight.shape)

    def objective(self, row: int, coefficients: Float64Array) -> float:
        """Return ``(w - s)'H(w - s)``."""
        return float(np.square(self.root @ (self.weight[row] - coefficients)).sum())

    def fit(self, row: int, kept: IndexArray | Sequence[int]) -> Float64Array:
        """Return the least-squares coefficients of a row on some columns, in units in which all columns are alike."""
        columns = np.asarray(kept, dtype=np.intp)
        coefficients = np.zeros(self.p)
        norms = np.linalg.norm(self.root[:, columns], axis=0)
        norms[norms == 0] = 1.0
        found = np.linalg.lstsq(self.root[:, columns] / norms, self.root @ self.weight[row], rcond=None)[0]
        coefficients[columns] = found / norms
        return coefficients

    def refitted(self, row: int, kept: IndexArray | Sequence[int]) -> float:
        """Return the least objective of a row on some columns."""
        return self.objective(row, self.fit(row, kept))

    def least(self, row: int) -> float:
        """Return the least objective of a row over all allowed masks, by trying all of them."""
        return min(self.refitted(row, kept) for kept in group_masks(self.p, self.n, self.m))


def group_masks(p: int, n: int, m: int) -> Iterator[list[int]]:
    """Yield the columns of every mask that keeps n of each m consecutive columns."""
    groups = [combinations(range(first, first + m), n) for first in range(0, p, m)]
    for chosen in product(*groups):
        yield [column for group in chosen for column in group]


def swaps(kept: BoolArray, m: int) -> Iterator[tuple[int, int]]:
    """Yield every kept column with every other one of its group that is not kept."""
    for first in range(0, kept.size, m):
        group = np.arange(first, first + m)
        yield from product(group[kept[group]], group[~kept[group]])


def draw_layer(
    rng: np.random.Generator,
    kind: str = "common factor",
    *,
    rows: int = 2,
    shape: tuple[int, int, int] = (8, 2, 4),
    delta: float = 1e-2,
    unit: float = 1.0,
) -> Layer:
    """Draw a layer.

    Parameters
    ----------
    rng : Generator
    kind : str
        One of `KINDS`.
    rows : int
        Outputs.
    shape : tuple of int
        Inputs p, and the pattern: n of every m.
    delta : float
        Damping.
    unit : float
        Of the inputs.
    """
    p, n, m = shape
    inputs = _inputs(rng, kind, p)
    weight = rng.standard_normal((rows, p))
    if kind == "integers":
        weight = rng.integers(-2, 3, (rows, p)).astype(float)
    return Layer(weight, unit * inputs, delta, n, m, int(rng.integers(2**32)))


def _inputs(rng: np.random.Generator, kind: str, p: int) -> Float64Array:
    X = rng.standard_normal((5 * p, p))
    if kind == "common factor":
        return X + 2.0 * rng.standard_normal((5 * p, 1))
    if kind == "walk":
        return X.cumsum(1)
    if kind == "scales":
        return (X + rng.standard_normal((5 * p, 1))) * np.exp(2.0 * rng.standard_normal(p))
    if kind == "integers":
        return rng.integers(-1, 2, (5 * p, p)).astype(float)
    if kind == "copies":
        X[:, rng.integers(p)] = X[:, rng.integers(p)]
    elif kind == "few rows":
        return X[: p // 2]
    elif kind == "dead input":
        X[:, rng.integers(p)] = 0.0
    return X


_SHAPES = ((8, 2, 4), (8, 1, 4), (6, 1, 2), (6, 2, 3), (6, 3, 6), (7, 2, 7), (8, 7, 8), (12, 2, 4))


def layers(
    kinds: Sequence[str] = KINDS, shapes: Sequence[tuple[int, int, int]] = _SHAPES, rows: int = 2
) -> st.SearchStrategy[Layer]:
    """Return a strategy of layers of all kinds, patterns, dampings and units."""
    return st.builds(
        lambda seed, kind, shape, delta, unit: draw_layer(
            np.random.default_rng(seed), kind, rows=rows, shape=shape, delta=delta, unit=unit
        ),
        seeds,
        st.sampled_from(kinds),
        st.sampled_from(shapes),
        st.sampled_from(_DELTAS),
        st.sampled_from([1.0, 1.0, 1e-6, 1e6]),
    )
