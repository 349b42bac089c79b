"""The smallest subspace in which training does almost as well as without one."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, fsum, inf, isnan, log2
from pathlib import Path
from typing import Any

import numpy as np

from sparsetheory.constraints import COUNT, FLAG, POSITIVE, SIZE, Real
from sparsetheory.progress import tracked

__all__ = ["IntrinsicDimension", "intrinsic_dimension"]

_SHARE = Real(0.0, 1.0, "right")


@dataclass(frozen=True)
class IntrinsicDimension:
    """The outcome of a search for the dimension that training needs.

    Parameters
    ----------
    n_components : int or None
        The smallest dimension found to reach the threshold; None if the largest one of the grid does not.
    curve : mapping of int to tuple of float
        Performance of each run at every dimension that was evaluated, in increasing order of the dimension.
    threshold : float
        What the mean over runs must reach.
    """

    n_components: int | None
    curve: Mapping[int, tuple[float, ...]]
    threshold: float

    def plot(self, ax: Any = None) -> Any:
        """Draw the performance over the dimension, with the threshold and the dimension that was found.

        Parameters
        ----------
        ax : matplotlib axes, optional
            A new figure by default.

        Returns
        -------
        matplotlib axes
        """
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(layout="constrained")
        for size, values in self.curve.items():
            ax.plot([size] * len(values), values, ".", color="C0", alpha=0.4)
        means = [_mean(values) for values in self.curve.values()]
        ax.plot(list(self.curve), means, "-", color="C0", label="mean of runs")
        ax.axhline(self.threshold, color="C1", linestyle="--", label=f"threshold {self.threshold:.3g}")
        if self.n_components is not None:
            ax.axvline(self.n_components, color="C2", linestyle=":", label=f"intrinsic dimension {self.n_components}")
        ax.set_xscale("log")
        ax.set_xlabel("dimension of the subspace")
        ax.set_ylabel("performance")
        ax.legend()
        return ax


def intrinsic_dimension(
    train_eval: Callable[[int, int], float],
    baseline: float,
    dims: Iterable[int],
    *,
    fraction: float = 0.9,
    n_repeats: int = 2,
    resolution: int = 1,
    random_state: int = 0,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    verbose: bool = False,
) -> IntrinsicDimension:
    """Find the smallest dimension of a random subspace in which training reaches a share of the direct performance.

    The grid is walked upwards until the mean over some runs reaches ``fraction * baseline``. Then the interval between
    that dimension and the last one that failed is halved, down to neighbours by default. Nothing is extrapolated: if
    the largest dimension of the grid fails there is no answer, and if the smallest one passes it is the answer.

    Parameters
    ----------
    train_eval : callable
        ``train_eval(n_components, seed)`` trains in a subspace of that dimension and returns the performance on
        held-out data, larger is better. Of rewards pass what is above a floor. NaN counts as a failure.
    baseline : float
        Performance of direct training, above 0.
    dims : iterable of int
        The grid, mostly a geometric one, in any order.
    fraction : float
        Share of the baseline to reach, above 0 and at most 1.
    n_repeats : int
        Runs for each dimension. Each dimension has the same seeds.
    resolution : int
        The halving ends once the interval is no longer than this.
    random_state : int
        Source of the seeds.
    checkpoint : str or Path, optional
        File to which each run is appended, one line of JSON, so that an interrupted search keeps what it has.
    resume : bool
        Whether runs are read from the checkpoint where it has them. Without it the file begins anew.
    verbose : bool
        Whether a progress bar is shown.

    Returns
    -------
    IntrinsicDimension

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    At most ``(len(dims) + log2(gap)) * n_repeats`` runs, for the largest gap of the grid. The answer depends on the
    learning rate: a subspace wants another one than direct training. Near the threshold the means of few runs do not
    grow steadily, and the search then finds one of several crossings.

    References
    ----------
    Li, Farkhoor, Liu, Yosinski, "Measuring the Intrinsic Dimension of Objective Landscapes", ICLR 2018,
    arXiv:1804.08838. The way to search is ours.

    Examples
    --------
    >>> found = intrinsic_dimension(lambda d, seed: 1 - 10 / (d + 10), baseline=0.99, dims=[10, 40, 160])
    >>> found.n_components, sorted(found.curve)
    (82, [10, 40, 70, 77, 81, 82, 83, 85, 100, 160])
    """
    COUNT.require(n_repeats=n_repeats, resolution=resolution)
    FLAG.require(resume=resume, verbose=verbose)
    threshold = _SHARE.check("fraction", fraction) * POSITIVE.check("baseline", baseline)
    grid = sorted({COUNT.check("dims", size) for size in dims})
    if not grid:
        raise ValueError("dims must hold at least one dimension; got none")
    seeds = np.random.default_rng(SIZE.check("random_state", random_state)).integers(2**31, size=n_repeats).tolist()
    runs = _Runs(train_eval, seeds, None if checkpoint is None else Path(checkpoint), resume)
    search = _Search(runs, threshold)
    gap = max((high - low for low, high in pairwise(grid)), default=1)
    total = n_repeats * (len(grid) + ceil(log2(gap)))
    for _ in tracked(search.steps(grid, resolution), "searching the intrinsic dimension", verbose, total):
        pass
    return IntrinsicDimension(search.smallest, dict(sorted(search.curve.items())), threshold)


def _mean(values: tuple[float, ...]) -> float:
    return fsum(values) / len(values) if min(values) > -inf else -inf


class _Search:
    """What is known of each dimension, and which one comes next."""

    def __init__(self, runs: "_Runs", threshold: float) -> None:
        self.runs, self.threshold = runs, threshold
        self.curve: dict[int, tuple[float, ...]] = {}
        self.smallest: int | None = None

    def steps(self, grid: list[int], resolution: int) -> Iterator[None]:
        """Run the search, and stop after each run."""
        low = grid[0]
        for size in grid:
            yield from self._evaluate(size)
            if self._passes(size):
                self.smallest = size
                break
            low = size
        while self.smallest is not None and self.smallest - low > resolution:
            middle = (low + self.smallest) // 2
            yield from self._evaluate(middle)
            if self._passes(middle):
                self.smallest = middle
            else:
                low = middle

    def _evaluate(self, size: int) -> Iterator[None]:
        values: list[float] = []
        for seed in self.runs.seeds:
            values.append(self.runs(size, seed))
            yield
        self.curve[size] = tuple(values)

    def _passes(self, size: int) -> bool:
        return _mean(self.curve[size]) >= self.threshold


class _Runs:
    """Performance by dimension and seed, written to a file where one was given."""

    def __init__(
        self, train_eval: Callable[[int, int], float], seeds: list[int], file: Path | None, resume: bool
    ) -> None:
        self.train_eval, self.seeds, self.file = train_eval, seeds, file
        self.known: dict[tuple[int, int], float] = {}
        if file is not None and resume and file.exists():
            self.known = _read(file)
        elif file is not None:
            file.write_text("", encoding="utf-8")

    def __call__(self, size: int, seed: int) -> float:
        if (size, seed) in self.known:
            return self.known[size, seed]
        value = float(self.train_eval(size, seed))
        value = -inf if isnan(value) else value
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"n_components": size, "seed": seed, "value": value}) + "\n")
        return value


def _read(file: Path) -> dict[tuple[int, int], float]:
    """Return the runs of a checkpoint; a last line that was not finished is taken off the file."""
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    entries = [json.loads(line) for line in whole.splitlines()]
    return {(int(entry["n_components"]), int(entry["seed"])): float(entry["value"]) for entry in entries}
