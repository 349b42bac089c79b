"""Private messages and their server beside NumPy, OpenDP and scikit-learn: one process, one thread, after compilation.

Run ``python benchmarks/privacy.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE`` also
writes one JSON line per row. OpenDP, which only this benchmark uses, is left out and named where it is not installed.

The peers in NumPy do the same work for a whole block of users from one generator: the fastest code that one can write
by hand. They are no replacement. A device cannot find its own direction in such a block, sums of floats depend on the
order of users, and the coin is not secret.
"""

import argparse
import importlib
import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _timing import Row, best_of, best_of_each, print_table
from threadpoolctl import threadpool_limits

from sparsetheory.privacy import LDPClient, LDPSchema, MomentState
from sparsetheory.privacy.collection.blocks import encode_block
from sparsetheory.privacy.solvers.moment_iht import moment_iht
from sparsetheory.privacy.solvers.psd_lasso import psd_lasso

_EPS = 1.0
# Microseconds per user that one core may take at 30 features.
_TARGETS = {"sketch": 1.0, "sphere_joint": 10.0}
# A few hundredths of a second each: of many short runs, some meet no other process.
_USERS = {"sketch": 40_000, "sphere_joint": 10_000, "onebit": 80_000, "gauss_tight": 2_000}
# Numbers in one block of a peer; its best size, by trial.
_BLOCK = 2**16


def schema_of(mechanism: str, n_features: int) -> LDPSchema:
    """Return a collection of standardised features."""
    bounded = mechanism == "onebit"
    return LDPSchema(
        mechanism=mechanism,
        eps=_EPS,
        delta=1e-6 if mechanism == "gauss_tight" else 0.0,
        n_features=n_features,
        clip_x=None if bounded else math.sqrt(n_features) + 2.5,
        clip_entries=3.0 if bounded else None,
        clip_y=4.0,
    )


def records(n: int, d: int) -> tuple[Any, Any, Any]:
    """Return records of many users, and their numbers."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    return X, X[:, 0] + rng.standard_normal(n), np.arange(n, dtype=np.uint64)


class NumpyCollection:
    """The same mechanisms, block by block, with generators of NumPy and its products of matrices."""

    def __init__(self, schema: LDPSchema) -> None:
        self.schema = schema
        self.rows, self.columns = np.triu_indices(schema.n_features)
        self.weights = np.append(np.where(self.rows == self.columns, 1, math.sqrt(2)), np.ones(schema.n_features))
        self.keep = 1 / (1 + math.exp(-schema.eps))
        self.block = max(1, _BLOCK // (schema.n_features if schema.mechanism == "onebit" else self._width))

    @property
    def _width(self) -> int:
        return 2 * (self.schema.n_features + 1) if self.schema.mechanism == "sketch" else self.weights.size

    def encode(self, X: Any, y: Any) -> Any:
        """Return what all users send."""
        send = getattr(self, f"_{self.schema.mechanism}")
        parts = [slice(start, start + self.block) for start in range(0, len(X), self.block)]
        return np.concatenate([send(X[part], y[part], number) for number, part in enumerate(parts)])

    def _clipped(self, X: Any, y: Any) -> tuple[Any, Any]:
        norms = np.sqrt(np.einsum("ij,ij->i", X, X))
        scale = 1 / np.maximum(norms, self.schema.largest_norm)
        return X * scale[:, None], np.clip(y / self.schema.clip_y, -1, 1)

    def _vectors(self, X: Any, y: Any) -> Any:
        x, u = self._clipped(X, y)
        return np.hstack([x[:, self.rows] * x[:, self.columns], x * u[:, None]]) * self.weights

    def _directions(self, number: int, n: int) -> Any:
        generator = np.random.Generator(np.random.SFC64(number))
        return generator.standard_normal((n, self._width), dtype=np.float32)

    def _coin(self, true: Any, agreement: Any) -> Any:
        uniform = np.random.default_rng().random((2, len(true)))
        return np.where((uniform[0] < agreement) == (uniform[1] < self.keep), true, -true).astype(np.int8)

    def _sketch(self, X: Any, y: Any, number: int) -> Any:
        z = np.column_stack(self._clipped(X, y))
        directions = self._directions(number, len(X)).reshape(len(X), 2, -1)
        first, second = (np.einsum("ij,ij->i", directions[:, k], z) for k in range(2))
        return self._coin(np.sign(first * second), 0.5 + np.einsum("ij,ij->i", z, z) / 4)

    def _sphere_joint(self, X: Any, y: Any, number: int) -> Any:
        v = self._vectors(X, y)
        true = np.sign(np.einsum("ij,ij->i", self._directions(number, len(X)), v))
        return self._coin(true, 0.5 + np.sqrt(np.einsum("ij,ij->i", v, v) / 8))

    def _onebit(self, X: Any, y: Any, number: int) -> Any:
        n, q = X.shape
        x = np.clip(X / self.schema.largest_entry, -1, 1)
        x = np.column_stack([x, np.clip(y / self.schema.clip_y, -1, 1)])
        chosen = np.random.Generator(np.random.SFC64(number)).integers(self.weights.size, size=n)
        rows, columns = np.append(self.rows, np.arange(q)), np.append(self.columns, np.full(q, q))
        everyone = np.arange(n)
        return self._coin(np.ones(n), 0.5 + x[everyone, rows[chosen]] * x[everyone, columns[chosen]] / 2)

    def _gauss_tight(self, X: Any, y: Any, number: int) -> Any:
        return self._vectors(X, y) + 3.0 * np.random.default_rng().standard_normal((len(X), self._width))

    def total(self, messages: Any) -> Any:
        """Return the sum of messages."""
        if self.schema.mechanism == "gauss_tight":
            return messages.sum(axis=0)
        parts = [messages[start : start + self.block] for start in range(0, len(messages), self.block)]
        add = getattr(self, f"_{self.schema.mechanism}_sum")
        return sum(add(signs, number) for number, signs in enumerate(parts))

    def _sketch_sum(self, signs: Any, number: int) -> Any:
        directions = self._directions(number, len(signs)).reshape(len(signs), 2, -1)
        return (directions[:, 0] * signs[:, None]).T @ directions[:, 1]

    def _sphere_joint_sum(self, signs: Any, number: int) -> Any:
        directions = self._directions(number, len(signs))
        return (signs / np.sqrt(np.einsum("ij,ij->i", directions, directions))) @ directions

    def _onebit_sum(self, signs: Any, number: int) -> Any:
        chosen = np.random.Generator(np.random.SFC64(number)).integers(self.weights.size, size=len(signs))
        return np.bincount(chosen, weights=signs, minlength=self.weights.size)


def _opendp() -> Any:
    try:
        prelude = importlib.import_module("opendp.prelude")
    except ImportError:
        print("opendp is not installed: left out", file=sys.stderr)
        return None
    prelude.enable_features("contrib")
    return prelude


def _per_user(task: str, d: int, seconds: float, n: int, peer: float, mechanism: str) -> list[Row]:
    """Compare with a target, if there is one, and with NumPy; both in microseconds per user."""
    ours, theirs = seconds / n * 1e6, peer / n * 1e6
    task = f"{task}, {mechanism}, {d} features ({1e6 / ours:.2g} users/s)"
    rows = [Row(task, "NumPy by hand", ours, theirs, unit="us")]
    if d == 30 and mechanism in _TARGETS:
        target = _TARGETS[mechanism]
        rows.append(Row(task, f"{1e6 / target:.0e} users/s", ours, target, 1.0, unit="us"))
    return rows


def bench_encode(quick: bool) -> list[Row]:
    """Compare messages of many users with blocks in NumPy, and the Gaussian ones with OpenDP as well."""
    rows, opendp = [], _opendp()
    for d in (30,) if quick else (30, 100):
        for mechanism, users in _USERS.items():
            n = users // (40 if quick else 1) * 30 // d
            schema, (X, y, numbers) = schema_of(mechanism, d), records(n, d)
            peer = NumpyCollection(schema)
            encode_block(schema, X[:10], y[:10], numbers[:10])
            ours, theirs = best_of_each(
                partial(encode_block, schema, X, y, numbers), partial(peer.encode, X, y), repeats=1 if quick else 20
            )
            rows += _per_user("encode", d, ours, n, theirs, mechanism)
        if opendp:
            rows.append(_against_opendp(opendp, schema, ours / n * 1e6))
    return rows


def _against_opendp(opendp: Any, schema: LDPSchema, ours: float) -> Row:
    """Compare with the Gaussian noise of OpenDP on the vector of products of one user; the products are not counted."""
    space = (
        opendp.vector_domain(opendp.atom_domain(T=float, nan=False), size=schema.n_products),
        opendp.l2_distance(T=float),
    )
    release = opendp.m.make_gaussian(*space, scale=4.0)
    vector = [0.1] * schema.n_products
    theirs = best_of(lambda: release(vector), 3) * 1e6
    task = f"encode, gauss_tight, {schema.n_features} features"
    return Row(task, f"OpenDP make_gaussian ({theirs / schema.n_products:.0f} us a number)", ours, theirs, unit="us")


def bench_update(quick: bool) -> list[Row]:
    """Compare the sums of a server with blocks in NumPy."""
    rows = []
    for d in (30,) if quick else (30, 100):
        for mechanism, users in _USERS.items():
            n = users // (40 if quick else 1) * 30 // d
            schema, (X, y, numbers) = schema_of(mechanism, d), records(n, d)
            peer, state = NumpyCollection(schema), MomentState(schema)
            messages = encode_block(schema, X, y, numbers)
            state.update(messages[:10], numbers[:10])
            ours, theirs = best_of_each(
                lambda state=state, messages=messages, numbers=numbers: state.update(messages, numbers),
                lambda peer=peer, messages=messages: peer.total(messages),
                repeats=1 if quick else 20,
            )
            rows += _per_user("server", d, ours, n, theirs, mechanism)
    return rows


def bench_client(quick: bool) -> list[Row]:
    """Compare one message of one device with a millisecond."""
    rows = []
    for mechanism in _USERS:
        client = LDPClient.from_schema(schema_of(mechanism, 30))
        x = np.random.default_rng(0).standard_normal(30)
        client.encode(x, 0.5, 0)
        repeats = 3 if quick else 200
        ours = best_of(lambda client=client, x=x: client.encode(x, 0.5, 0), repeats)
        rows.append(Row(f"one message of a device, {mechanism}, 30 features", "1 ms", ours * 1e6, 1e3, 1.0, unit="us"))
    return rows


def bench_merge(quick: bool) -> list[Row]:
    """Compare merging, storing and reading states with the sum of two arrays."""
    rows = []
    for d in (30,) if quick else (30, 300):
        schema = schema_of("sketch", d)
        first, second = MomentState(schema), MomentState(schema)
        content = first.to_bytes()
        merge, store, addition = best_of_each(
            lambda first=first, second=second: first.merge(second),
            lambda first=first, content=content: MomentState.from_bytes(content) and first.to_bytes(),
            lambda first=first, second=second: first.total + second.total,
            repeats=3 if quick else 50,
        )
        task = f"sketch, {d} features, a state of {len(content) / 1e3:.0f} kB"
        rows.append(Row(f"merge, {task}", "the sum alone", merge * 1e6, addition * 1e6, unit="us"))
        rows.append(Row(f"write and read, {task}", "the sum alone", store * 1e6, addition * 1e6, unit="us"))
    return rows


def noisy_moments(d: int, k: int) -> tuple[Any, Any]:
    """Return second moments with noise, not quite positive, and moments with the response."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((d, d)) / (4 * math.sqrt(d))
    second = np.eye(d) + (noise + noise.T) / math.sqrt(2)
    coef = np.zeros(d)
    coef[:k] = 1 / math.sqrt(k)
    return second, coef + 0.01 * rng.standard_normal(d)


def numpy_iht(second: Any, cross: Any, k: int, curvature: float) -> Any:
    """Run 60 steps of hard thresholding, each with a partial sort, then keep k."""
    coef, kept = np.zeros(cross.size), 2 * k
    for step in range(61):
        moved = coef + (cross - second @ coef) / curvature if step < 60 else coef
        count = kept if step < 60 else k
        largest = np.argpartition(np.abs(moved), -count)[-count:]
        coef = np.zeros(cross.size)
        coef[largest] = moved[largest]
        coef /= max(1.0, float(np.linalg.norm(coef)))
    return coef


def sklearn_lasso(second: Any, cross: Any, alpha: float) -> Any:
    """Fit the Lasso to a root of the positive part, which scikit-learn takes for a design."""
    sklearn = importlib.import_module("sklearn.linear_model")
    values, vectors = np.linalg.eigh(second)
    d, kept = cross.size, values > 1e-12
    root = np.sqrt(values[kept])
    X = np.asfortranarray(math.sqrt(d) * root[:, None] * vectors[:, kept].T)
    y = math.sqrt(d) * (vectors[:, kept].T @ cross) / root
    X, y = (part * math.sqrt(len(root) / d) for part in (X, y))
    return sklearn.Lasso(alpha, fit_intercept=False, tol=1e-10, max_iter=10**6).fit(X, y).coef_


def bench_solve(quick: bool) -> list[Row]:
    """Compare the solvers on released moments with NumPy and scikit-learn."""
    rows, k, alpha = [], 5, 0.05
    for d in (30,) if quick else (30, 300):
        second, cross = noisy_moments(d, k)
        psd_lasso(second, cross, alpha, 1e-10)
        repeats = 1 if quick else 10
        ours, theirs = best_of_each(
            partial(moment_iht, second, cross, k, 2.0, 1.0, n_kept=2 * k, n_steps=60),
            partial(numpy_iht, second, cross, k, 2.0),
            repeats=repeats,
        )
        rows.append(Row(f"moment_iht, {d} features, 60 steps", "NumPy by hand", ours * 1e3, theirs * 1e3, unit="ms"))
        ours, theirs = best_of_each(
            partial(psd_lasso, second, cross, alpha, 1e-10),
            partial(sklearn_lasso, second, cross, alpha),
            repeats=repeats,
        )
        rows.append(Row(f"psd_lasso, {d} features", "scikit-learn Lasso", ours * 1e3, theirs * 1e3, unit="ms"))
    return rows


_FIRST = """
import time
started = time.perf_counter()
import numpy as np
{code}
print(time.perf_counter() - started)
"""
_CLIENT = """
from sparsetheory.privacy import LDPClient
client = LDPClient("{mechanism}", eps=1.0, n_features=30, clip_x=8.0, clip_y=4.0, public_seed=1, delta={delta})
client.encode(np.zeros(30), 0.0, 1)
"""
_SERVER = """
from sparsetheory.privacy import LDPSchema, MomentState
state = MomentState(LDPSchema(mechanism="sketch", eps=1.0, n_features=30, clip_x=8.0, clip_y=4.0))
state.update(np.ones(5, dtype=np.int8), np.arange(5))
"""


def bench_cold_start(quick: bool) -> list[Row]:
    """Import and first message, and import and first sum, in a new process; compiled code is on disk."""
    programs = {
        "import + first message, sketch": _CLIENT.format(mechanism="sketch", delta=0.0),
        "import + first message, gauss_tight": _CLIENT.format(mechanism="gauss_tight", delta=1e-6),
        "import + first sum, sketch": _SERVER,
    }
    repeats = 1 if quick else 3
    return [
        Row(f"{task}, new process", "one second", _first(code, repeats), 1.0, 1.0) for task, code in programs.items()
    ]


def _first(code: str, repeats: int) -> float:
    program = [sys.executable, "-c", _FIRST.format(code=code)]
    runs = [
        subprocess.run(program, capture_output=True, text=True, check=True, env=os.environ) for _ in range(1 + repeats)
    ]
    return min(float(run.stdout) for run in runs[1:])


_PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "encode": bench_encode,
    "update": bench_update,
    "client": bench_client,
    "merge": bench_merge,
    "solve": bench_solve,
    "cold_start": bench_cold_start,
}


def main() -> None:
    """Run the parts asked for and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", choices=list(_PARTS), help="one part")
    parser.add_argument("--json", type=Path, help="also write one JSON line per row")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = []
    with threadpool_limits(1):
        for name in [options.only] if options.only else _PARTS:
            rows += [row.cells() for row in _PARTS[name](options.quick)]
    print_table("Sparse regression under local privacy", rows)
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
