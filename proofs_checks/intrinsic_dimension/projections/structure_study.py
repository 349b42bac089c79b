"""Which structures of linear conditions a random subspace fails to meet, by kind of projection."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.intrinsic_dimension.projections.kinds import KINDS, Case
from sparsetheory.proofs_checks.intrinsic_dimension.projections.ranks import block_sums, rank_in_subspace

# Number of blocks and their length.
_BLOCKS = ((10, 100), (10, 128), (8, 125), (8, 128), (8, 8))
_REPEATS = {"quick": 40, "full": 400}
_COLUMNS = ("blocks", "length", "dimensions", *KINDS, "fastfood, parameters shuffled")
_NOTES = (
    "Synthetic. Share of {repeats} draws in which sums over blocks have a lower rank in the subspace than in the whole "
    "space, at as many dimensions as blocks and at twice as many. Fastfood fails where the length of blocks is a power "
    "of two. In the last column, the parameters are in random order, which removes the structure."
)


def _missed(kind: str, n_blocks: int, size: int, d: int, repeats: int, shuffled: bool = False) -> float:
    A, missed = block_sums(n_blocks, size), 0
    for seed in range(repeats):
        order = np.random.default_rng([3, seed]).permutation(A.shape[1]) if shuffled else slice(None)
        missed += rank_in_subspace(Case(kind, d, A.shape[1], seed), A[:, order]) < n_blocks
    return round(missed / repeats, 3)


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        places = np.arange(len(rows))
        for i, label in enumerate(_COLUMNS[3:]):
            ax.barh(places + 0.2 * (i - 1.5), [row[i + 3] for row in rows], 0.2, label=label)
        ax.set_yticks(places, [f"{row[0]} x {row[1]}, d = {row[2]}" for row in rows], fontsize=8)
        ax.invert_yaxis()
        ax.set_xlabel("share of draws that miss a condition")
        ax.set_title("Sums over blocks in random subspaces")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    repeats, rows = _REPEATS[profile], []
    for n_blocks, size in _BLOCKS:
        for d in (n_blocks, 2 * n_blocks):
            shares = [_missed(kind, n_blocks, size, d, repeats) for kind in KINDS]
            rows.append((n_blocks, size, d, *shares, _missed("fastfood", n_blocks, size, d, repeats, shuffled=True)))
    return StudyResult(_COLUMNS, rows, _NOTES.format(repeats=repeats), _plot(rows))


missed_structures = Study(
    name="intrinsic_dimension.missed_structures",
    title="Conditions that a random subspace misses",
    description="Sums over blocks of parameters, of lengths that are powers of two or not, in dense, sparse and "
    "fastfood subspaces.",
    run=_run,
)
