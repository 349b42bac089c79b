"""A long run of dictionary learning: progress, interrupts and checkpoints."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from sparsetheory.coding.dictionary.learner import BatchLearner
from sparsetheory.coding.dictionary.state import DictionaryState, data_checksum, read_state, write_state
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["Checkpoint", "run_batches"]


@dataclass(frozen=True)
class Checkpoint:
    """Where a run is kept.

    Parameters
    ----------
    path : Path or None
        The file; None keeps nothing.
    header : mapping
        What the run says of itself; only a run that says the same is continued.
    every : int
        Batches between two writes.
    """

    path: Path | None
    header: Mapping[str, Any]
    every: int

    @classmethod
    def of(cls, path: str | Path | None, every: int, parameters: Mapping[str, Any], X: FloatArray) -> Self:
        """Return where a run is kept that is told from others by its parameters and data.

        Parameters
        ----------
        path : str or Path or None
            The file; None keeps nothing.
        every : int
            Batches between two writes.
        parameters : mapping
            All parameters on which the result depends.
        X : ndarray of shape (n_samples, n_features)
            All signals.

        Raises
        ------
        ValueError
            If the path is that of a folder.
        """
        if path is None:
            return cls(None, {}, every)
        path = Path(path)
        if path.is_dir():
            raise ValueError(f"checkpoint must name a file; got the folder {path}")
        header = {name: _as_text(value) for name, value in parameters.items()}
        return cls(path, header | {"data": data_checksum(X)}, every)

    def read(self) -> DictionaryState | None:
        """Return the state to continue from, None if there is none."""
        return None if self.path is None else read_state(self.path, self.header)

    def write(self, state: DictionaryState) -> None:
        """Keep a state in place of the one before."""
        if self.path is not None:
            write_state(self.path, state, self.header)


def run_batches(
    learner: BatchLearner,
    state: DictionaryState,
    X: FloatArray,
    rows: Iterator[Int64Array],
    checkpoint: Checkpoint,
    *,
    verbose: bool = False,
) -> tuple[DictionaryState, bool]:
    """Learn from batch after batch up to the planned number.

    Parameters
    ----------
    learner : BatchLearner
        What to do with a batch; `learner.n_batches` is the planned number.
    state : DictionaryState
        Where to start.
    X : ndarray of shape (n_samples, n_features)
        Signals.
    rows : iterator of ndarray of int
        Rows of the next batches.
    checkpoint : Checkpoint
        Where to keep the state now and then, and at the end.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    state : DictionaryState
        After the last complete batch.
    interrupted : bool
        Whether a KeyboardInterrupt ended the run early. A warning says so.

    Warns
    -----
    RuntimeWarning
        If the run was interrupted.
    """
    interrupted = False
    try:
        with _progress(state.n_batches, learner.n_batches, verbose) as show:
            for chosen in islice(rows, max(learner.n_batches - state.n_batches, 0)):
                state = learner.learn(state, np.ascontiguousarray(X[chosen]))
                show(state)
                if state.n_batches % checkpoint.every == 0:
                    checkpoint.write(state)
    except KeyboardInterrupt:
        interrupted = True
        kept = "" if checkpoint.path is None else f"; fit with resume=True continues from {checkpoint.path}"
        warnings.warn(
            f"interrupted after {state.n_batches} of {learner.n_batches} batches{kept}", RuntimeWarning, stacklevel=3
        )
    checkpoint.write(state)
    return state, interrupted


@contextmanager
def _progress(done: int, total: int, verbose: bool) -> Iterator[Callable[[DictionaryState], None]]:
    if not verbose:
        yield lambda state: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.description}")
    with Progress(text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("learning atoms", total=total, completed=done)

        def show(state: DictionaryState) -> None:
            history = state.history
            description = f"objective {history.objective[-1]:.4g}, {history.active[-1]:.3g} active"
            bar.update(task, completed=state.n_batches, description=description)

        yield show


def _as_text(value: Any) -> Any:
    if isinstance(value, np.random.Generator | np.random.RandomState):
        # Their text is an address; like None, they do not say where the kept run began.
        return type(value).__name__
    if np.ndim(value) and not isinstance(value, str):
        return data_checksum(np.asarray(value, dtype=np.float64))
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        return repr(value.item() if isinstance(value, np.generic) else value)
