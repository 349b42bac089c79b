"""The benchmarks run, and compare what they say they do."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_lowrank_benchmark_prints_every_comparison():
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "lowrank.py"), "--quick"], capture_output=True, text=True, check=True
    )
    for task in ("greedy", "panels", "agglomeration", "max-norm", "range finder", "import sparsetheory", "warm cache"):
        assert task in done.stdout
