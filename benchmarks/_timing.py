"""Best-of-n timing, comparisons with a target, and tables of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

CONSOLE = Console(width=160)


def best_of(function: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of the fastest call: noise only ever adds."""
    return best_result(function, repeats)[0]


def best_result(function: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Seconds of the fastest call, and what the last one returned."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - started)
    return min(times), result


def best_of_each(*functions: Callable[[], object], repeats: int = 3) -> list[float]:
    """Seconds of the fastest call of each function; they take turns, so that a busy spell meets all alike."""
    rounds = [[best_of(function, 1) for function in functions] for _ in range(repeats)]
    return [min(times) for times in zip(*rounds, strict=True)]


@dataclass(frozen=True)
class Row:
    """One comparison of costs, in seconds unless `unit` says otherwise."""

    task: str
    against: str
    ours: float
    peer: float
    target: float | None = None
    unit: str = "s"

    @property
    def ratio(self) -> float:
        """How many times cheaper than the peer we are."""
        return self.peer / self.ours

    @property
    def met(self) -> str:
        if self.target is None:
            return ""
        return "yes" if self.ratio >= self.target else "no"

    def cells(self) -> dict[str, Any]:
        """Return the columns of the table."""
        target = "" if self.target is None else f"{self.target:g}"
        return {
            "task": self.task,
            "against": self.against,
            "ours": f"{self.ours:.4g} {self.unit}",
            "peer": f"{self.peer:.4g} {self.unit}",
            "ratio": f"{self.ratio:.2f}",
            "target": target,
            "met": self.met,
        }


def print_table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print dictionaries with the same keys, one per line."""
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    CONSOLE.print(table)
