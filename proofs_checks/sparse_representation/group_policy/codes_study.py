"""Residual codes of items beside codes by matching pursuit on a learned dictionary, at equal numbers of bits."""

from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, representation, solvers
from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
from sparsetheory.typing import Float64Array

_COLUMNS = ("items", "codes", "bits", "numbers stored", "error", "error, other items", "share codes with others")
_NOTES = (
    "Errors: squared, relative to the centred items; other items are a fifth that codes were not made for. Bits name "
    "an item; the numbers stored are those that codes refer to, centroids or atoms. Pursuit: four atoms of a "
    "dictionary that is fitted in turn with the codes, coefficients rounded to eight values. What four levels of 256 "
    "gain is mostly what they store: at the same bits, and about as many numbers, residual codes and pursuit err "
    "alike. Clusters of equal size err a little more on their own items, and leave fewer of them without a code of "
    "their own."
)
_N_ATOMS, _N_NONZERO, _N_VALUES, _ROUNDS = 32, 4, 8, 15


def _digits() -> Float64Array:
    return core.datasets.load_digits().images.reshape(-1, 64).astype(np.float64)


def _films() -> Float64Array:
    """Return the films of MovieLens as right singular vectors of who rated them well, times singular values."""
    ratings = core.datasets.load_movielens_100k()
    liked = np.zeros((ratings.users.max() + 1, ratings.items.max() + 1))
    rows = ratings.ratings >= 4
    liked[ratings.users[rows], ratings.items[rows]] = 1.0
    _, values, right = np.linalg.svd(liked, full_matrices=False)
    films = (values[:32, None] * right[:32]).T
    return np.asarray(films[liked.sum(0) >= 5])


def _residual(X: Any, other: Any, n_levels: int = 4, n_codes: int = 256, balanced: bool = False) -> tuple[Any, ...]:
    found = representation.residual_codes(X, n_levels, n_codes, balanced)
    shared = float((found.collisions > 0).double().mean())
    approximations = found.decode(found.codes), found.decode(found.encode(other))
    return n_levels * log2(n_codes), found.centroids.numel(), *approximations, shared


def _pursue(X: Any, atoms: Any) -> Any:
    return solvers.omp_gram(atoms @ atoms.T, X @ atoms.T, n_nonzero=_N_NONZERO)


def _learn_atoms(X: Any) -> Any:
    """Fit a dictionary in turn with its codes, by least squares."""
    import torch

    generator = torch.Generator().manual_seed(0)
    atoms = X[torch.randperm(len(X), generator=generator)[:_N_ATOMS]]
    for _ in range(_ROUNDS):
        atoms = atoms / atoms.norm(dim=1, keepdim=True).clamp_min(1e-12)
        codes = _pursue(X, atoms)
        fitted = torch.linalg.pinv(codes) @ X
        used = (codes != 0).any(0)
        # An atom that no item uses starts again at the item that is worst off.
        worst = (X - codes @ atoms).norm(dim=1).argsort(descending=True)[: int((~used).sum())]
        fitted[~used] = X[worst]
        atoms = fitted
    return atoms / atoms.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _pursuit(X: Any, other: Any) -> tuple[Any, ...]:
    import torch

    atoms = _learn_atoms(X)
    codes = _pursue(X, atoms)
    values = representation.residual_codes(codes[codes != 0][:, None], 1, _N_VALUES)

    def rounded(exact: Any) -> Any:
        result = torch.zeros_like(exact)
        result[exact != 0] = values.decode(values.encode(exact[exact != 0][:, None]))[:, 0]
        return result

    own = rounded(codes)
    _, places, counts = torch.unique(own, dim=0, return_inverse=True, return_counts=True)
    bits = _N_NONZERO * (log2(_N_ATOMS) + log2(_N_VALUES))
    shared = float((counts[places] > 1).double().mean())
    return bits, atoms.numel() + _N_VALUES, own @ atoms, rounded(_pursue(other, atoms)) @ atoms, shared


_CODES: dict[str, Callable[[Any, Any], tuple[Any, ...]]] = {
    "4 levels of 256": _residual,
    "4 levels of 256, balanced": lambda X, other: _residual(X, other, balanced=True),
    "16 levels of 4": lambda X, other: _residual(X, other, 16, 4),
    "4 levels of 16": lambda X, other: _residual(X, other, 4, 16),
    "4 levels of 16, balanced": lambda X, other: _residual(X, other, 4, 16, balanced=True),
    "matching pursuit": _pursuit,
}


def _run(profile: str) -> StudyResult:
    sources = {"digits": _digits}
    if profile == "full":
        sources["films of MovieLens"] = _films
    rows = []
    for name, load in sources.items():
        items = load()
        items = items[np.random.default_rng(0).permutation(len(items))]
        items = items - items.mean(0)
        n_train = len(items) * 4 // 5
        X, other = tensor(items[:n_train]), tensor(items[n_train:])
        # The best assignment of 1400 items to clusters of equal size takes seconds.
        kinds = [kind for kind in _CODES if profile == "full" or "balanced" not in kind]
        for kind in kinds:
            bits, numbers, own, others, shared = _CODES[kind](X, other)
            pairs = ((X, own), (other, others))
            errors = [float((A - B).square().sum() / A.square().sum()) for A, B in pairs]
            rows.append((name, kind, int(bits), numbers, *(round(error, 3) for error in errors), round(shared, 3)))
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        places = np.arange(len(rows))
        ax.barh(places - 0.2, [row[4] for row in rows], 0.4, label="items that codes were made for")
        ax.barh(places + 0.2, [row[5] for row in rows], 0.4, label="other items")
        ax.set_yticks(places, [f"{row[0]},\n{row[1]}, {row[2]} bits" for row in rows], fontsize=8)
        ax.invert_yaxis()
        ax.set_xlabel("relative squared error")
        ax.legend(fontsize=8)

    return draw


item_codes = Study(
    name="sparse_representation.item_codes",
    title="Residual codes and matching pursuit at equal bits",
    description="Errors of residual k-means, free and balanced, and of matching pursuit on a learned dictionary, at "
    "equal bits of an item; on digits, and in the full profile on films of MovieLens.",
    run=_run,
)
