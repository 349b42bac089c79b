"""Best-of-n timing, and a table of ratios."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


def best_of(function: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of the fastest call: noise only ever adds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


@dataclass(frozen=True)
class Row:
    """One comparison; `ratio` is how many times better than the peer we are."""

    task: str
    ours: str
    peer: str
    ratio: float
    target: float

    @property
    def met(self) -> str:
        return "yes" if self.ratio >= self.target else "no"


def print_table(title: str, rows: list[Row]) -> None:
    table = Table("task", "ours", "peer", "ratio", "target", "met", title=title)
    for row in rows:
        table.add_row(row.task, row.ours, row.peer, f"{row.ratio:.2f}", f"{row.target:g}", row.met)
    Console(width=150).print(table)
