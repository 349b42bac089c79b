"""What kind of sparse training a run was, read from what its masks did."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sparsetheory.constraints import SIZE, Real

__all__ = ["Taxonomy", "taxonomy_of"]

_DENSITY = Real(0.0, 1.0)


@dataclass(frozen=True)
class Taxonomy:
    """The kind of a run.

    Parameters
    ----------
    kind : str
        ``"dense"``: never sparse. ``"before"``: one mask from the first step on. ``"during/dynamic"``: the mask changes
        and the density does not fall, or rises at times. ``"during/gradual"``: the density falls, and never rises,
        while training goes on. ``"post"``: the only change is the last entry, from dense, after the last step.
    start : str
        ``"dense"`` or ``"sparse"``.
    n_changes : int
        How often the mask changed from one entry to the next.
    n_steps : int
        Steps of the whole run.
    explored : float or None
        Share of the weights that were ever kept, which measures over-parametrisation in time [1]_. Masks that never
        change, and those of a dense start, tell it; otherwise it is the last such share that the history holds, None
        where it holds none.

    References
    ----------
    .. [1] S. Liu, L. Yin, D. C. Mocanu, M. Pechenizkiy. Do we actually need dense over-parameterization? In-time
       over-parameterization in sparse training. ICML 2021.
    """

    kind: str
    start: str
    n_changes: int
    n_steps: int
    explored: float | None


def taxonomy_of(history: Sequence[Any]) -> Taxonomy:
    """Derive the kind of a run from its history.

    Parameters
    ----------
    history : sequence of (step, hash, density) or (step, hash, density, explored)
        What the masks were after a number of steps, in order: any value that tells them apart, their density, and where
        known the share of weights ever kept. :attr:`TopologyController.trajectory` is such a history.
        Training starts from the last entry at step 0, or the first one; the last entry is what is delivered. A run that
        is pruned after training has two entries at its last step.

    Returns
    -------
    Taxonomy

    Raises
    ------
    ValueError
        If the history is empty, its steps decrease, a density is not from 0 to 1, or differs for one hash.

    Examples
    --------
    >>> taxonomy_of([(0, "a", 0.1), (100, "b", 0.1), (200, "c", 0.1)]).kind
    'during/dynamic'
    >>> taxonomy_of([(0, "a", 1.0), (200, "a", 1.0), (200, "b", 0.1)]).kind
    'post'
    """
    _check(history)
    # What happens before the first step, such as pruning at initialisation, makes the mask that training starts from.
    history = history[max(0, sum(entry[0] == 0 for entry in history) - 1) :]
    hashes = [entry[1] for entry in history]
    densities = [float(entry[2]) for entry in history]
    changes = [i for i in range(1, len(history)) if hashes[i] != hashes[i - 1]]
    shares = [float(entry[3]) for entry in history if len(entry) > 3 and entry[3] is not None]
    start = "dense" if densities[0] == 1 else "sparse"
    explored = max(densities) if start == "dense" or not changes else shares[-1] if shares else None
    return Taxonomy(_kind(history, densities, changes), start, len(changes), int(history[-1][0]), explored)


def _kind(history: Sequence[Sequence[Any]], densities: Sequence[float], changes: Sequence[int]) -> str:
    if not changes:
        return "dense" if densities[0] == 1 else "before"
    last = len(history) - 1
    if densities[0] == 1 and list(changes) == [last] and history[last][0] == history[last - 1][0]:
        return "post"
    falls = [b < a for a, b in pairwise(densities)]
    rises = [b > a for a, b in pairwise(densities)]
    return "during/gradual" if any(falls) and not any(rises) else "during/dynamic"


def _check(history: Sequence[Sequence[Any]]) -> None:
    if len(history) < 1:
        raise ValueError("history must have at least 1 entry; got none")
    known: dict[Any, float] = {}
    before = 0
    for entry in history:
        if not isinstance(entry, tuple | list) or len(entry) not in (3, 4):
            raise ValueError(f"history must hold (step, hash, density) or one share more; got {entry!r}")
        step, mark, density = entry[:3]
        SIZE.check("step", step)
        _DENSITY.check("density", density)
        if step < before:
            raise ValueError(f"history must be in the order of its steps; got {step} after {before}")
        if known.setdefault(mark, density) != density:
            raise ValueError(f"history must have one density for one mask; got {density} and {known[mark]}")
        before = step
