"""Ten million simulated users on worker processes of Dask: partial states, merged as a tree.

Run ``python benchmarks/privacy_dask.py``; ``--quick`` cuts the number of users, ``--workers N`` sets the number of
processes, ``--json FILE`` also writes one JSON line per row. Needs ``pip install 'sparsetheory[distributed]'``.

Every task simulates a range of users, encodes their records and adds the bits to a state of its own. What travels are
states of 8 kB, however many users are in them. The same users are then collected in another partition, and the sums
must be equal to the last bit. The coins are seeded for that comparison, so these messages are not private.
"""

import argparse
import importlib.util
import json
import resource
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from _timing import print_table

from sparsetheory.privacy import LDPSchema, MomentState, NLDPSparseRegression
from sparsetheory.privacy.collection.blocks import encode_block

_D, _K = 30, 3
# Users whose records and coins come from one generator: whole numbers of these are in every partition.
_CHUNK = 10_000
_SCHEMA = LDPSchema(mechanism="sketch", eps=1.0, n_features=_D, clip_x=8.0, clip_y=4.0, public_seed=20_260)


# Dask has its workers give every freed array back to the system, whose pages must then be made anew: that doubles the
# time of arrays of a megabyte. These are the limits that the C library would find by itself.
_MEMORY = {"MALLOC_TRIM_THRESHOLD_": 2**26, "MALLOC_MMAP_THRESHOLD_": 2**25}


def collect(first: int, last: int) -> MomentState:
    """Return the state of the users of some chunks, which are made here and forgotten here."""
    state = MomentState(_SCHEMA)
    for chunk in range(first, last):
        rng = np.random.default_rng(chunk)
        X = rng.standard_normal((_CHUNK, _D))
        y = X[:, :_K].sum(axis=1) / np.sqrt(_K) + 0.5 * rng.standard_normal(_CHUNK)
        users = np.arange(chunk * _CHUNK, (chunk + 1) * _CHUNK, dtype=np.uint64)
        coin = lambda count, rng=rng: rng.integers(0, 2**64, count, dtype=np.uint64)  # noqa: E731
        state.update(encode_block(_SCHEMA, X, y, users, coin), users)
    return state


def merged(states: Sequence[Any]) -> Any:
    """Return the lazy state of all, by merging pairs, pairs of pairs, and so on."""
    from dask import delayed

    level = list(states)
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [delayed(MomentState.merge)(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


def run(client: Any, chunks: int, partitions: int) -> tuple[MomentState, dict[str, Any]]:
    """Collect all users on the workers of a client, and return the state and one row of the table."""
    from dask import delayed

    ends = np.linspace(0, chunks, partitions + 1).astype(int)
    tasks = [delayed(collect)(int(a), int(b)) for a, b in pairwise(ends)]
    busy, started = sum(client.run(time.process_time).values()), time.perf_counter()
    state = client.compute(merged(tasks)).result()
    seconds = time.perf_counter() - started
    busy = sum(client.run(time.process_time).values()) - busy
    peaks = client.run(peak_memory).values()
    row = {
        "users": f"{state.count:.0e}",
        "partitions": partitions,
        "seconds": seconds,
        "users/s": f"{state.count / seconds:.2g}",
        "CPU time": f"{busy / state.count * 1e6:.2f} us a user",
        "peak memory of a worker": f"{max(peaks):.0f} MB",
        "state": f"{len(state.to_bytes())} bytes",
    }
    return state, row


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    """Collect a tenth of the users, all users, and all users in another partition."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few users")
    parser.add_argument("--workers", type=int, default=2, help="number of processes, one thread each")
    parser.add_argument("--json", type=Path, help="also write one JSON line per row")
    options = parser.parse_args()
    if importlib.util.find_spec("distributed") is None:
        print("dask is not installed: pip install 'sparsetheory[distributed]'", file=sys.stderr)
        return
    import dask
    from distributed import Client, LocalCluster

    chunks = 20 if options.quick else 1000
    with (
        dask.config.set({f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in _MEMORY.items()}),
        LocalCluster(n_workers=options.workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.run(collect, 0, 1)  # compiles, or loads what was compiled
        _, few = run(client, chunks // 10, 2)
        state, all_users = run(client, chunks, 4 if options.quick else 40)
        other, again = run(client, chunks, 7)
    rows = [few, all_users, again]
    print_table(f"One bit a user, {_D} features, {options.workers} workers", rows)
    print("the last two are equal to the last bit:", state == other)
    error = np.linalg.norm(NLDPSparseRegression(n_nonzero=_K).fit_state(state).coef_ - np.eye(_K, _D).sum(0) / _K**0.5)
    print(f"error of the coefficients, whose norm is one: {error:.3f}")
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
