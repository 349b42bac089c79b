"""Best-of-n timing, comparisons with a target, tables of them, and the command line of a benchmark in parts."""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

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


def run_parts(title: str, description: str | None, parts: Mapping[str, Callable[[bool], list[Row]]]) -> None:
    """Run the parts that the command line asks for, on one thread, and print one table."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", choices=list(parts), help="one part")
    parser.add_argument("--json", type=Path, help="also write one JSON line per row")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = []
    with threadpool_limits(1):
        for name in [options.only] if options.only else parts:
            rows += [row.cells() for row in parts[name](options.quick)]
    if rows:
        print_table(title, rows)
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))
