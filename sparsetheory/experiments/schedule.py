"""Keeps all workers busy with tasks of any kind until none is left."""

import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend

from sparsetheory.experiments.workers import UnreachableError, leave_with_parent

__all__ = ["Task", "WorkerDiedError", "finished_tasks"]

# A backend that returns nothing before everything is done gets this many tasks at a time.
_SLICE = 64


class WorkerDiedError(RuntimeError):
    """A worker process was killed; the message says so in one line."""


@dataclass(frozen=True)
class Task:
    """A function for a worker, its arguments, and whose result it is."""

    owner: int
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@contextmanager
def finished_tasks(tasks: Iterable[Task], n_jobs: int) -> Iterator[Iterator[tuple[int, Any]]]:
    """Run tasks and hand out the answers as they come.

    Parameters
    ----------
    tasks : iterable of Task
        Asked for the next one whenever a worker is about to be free, so that it may react to earlier answers.
    n_jobs : int
        Workers, as joblib counts them. An active ``joblib.parallel_config`` decides on the backend.

    Yields
    ------
    iterator of (owner, answer)
        Leaving the context early stops the workers.

    Raises
    ------
    WorkerDiedError
        If a worker process was killed.
    """
    backend, _ = get_active_backend()
    run = _as_they_come if backend.supports_return_generator else _slice_by_slice
    with closing(run(iter(tasks), n_jobs)) as answers:
        try:
            yield (_here(answer) if isinstance(answer, Task) else answer for answer in answers)
        except TerminatedWorkerError as error:
            raise WorkerDiedError(
                "a worker process was killed, often because memory ran out; fewer workers (--n-jobs) need less"
            ) from error


def _as_they_come(tasks: Iterator[Task], n_jobs: int) -> Generator[Any, None, None]:
    parallel = Parallel(n_jobs=n_jobs, batch_size=1, return_as="generator_unordered")
    answers = parallel(delayed(_perform)(task, os.getpid()) for task in tasks)
    try:
        # "yield from" would close it before the warning can be silenced.
        for answer in answers:  # noqa: UP028
            yield answer
    finally:
        # Closing the generator stops the workers when the loop is left early, and complains of the work that is lost.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            answers.close()


def _slice_by_slice(tasks: Iterator[Task], n_jobs: int) -> Generator[Any, None, None]:
    while some := list(islice(tasks, _SLICE)):
        yield from Parallel(n_jobs=n_jobs)(delayed(_perform)(task, os.getpid()) for task in some)


def _perform(task: Task, parent: int) -> Any:
    """Return owner and answer, or the task itself where this worker cannot import what it needs."""
    leave_with_parent(parent)
    try:
        return _here(task)
    except UnreachableError:
        return task


def _here(task: Task) -> tuple[int, Any]:
    return task.owner, task.function(*task.arguments)
