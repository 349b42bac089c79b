"""Random projections and Walsh-Hadamard transforms: one process, one thread, all take turns, the fastest call counts.

Run ``python benchmarks/random_projections.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json
FILE`` also writes one JSON line per row. A dense matrix of 10**6 x 1000 numbers takes 4 GB in single precision: the
time of its product is that of its first columns, as many as take 256 MB, times how often they fit into the whole. What
is asked of the transform is five times the speed of the same transform in torch; the row against a plain copy of the
numbers says how far from the speed of memory it is. Sparse peers multiply with the same matrix; scikit-learn draws its
own, at the same density, and keeps no adjoint.
"""

from collections.abc import Callable

import numpy as np
import torch
from _timing import Row, best_of_each, run_parts
from scipy import sparse
from sklearn.random_projection import SparseRandomProjection
from torch import Tensor

from sparsetheory.gpu.dimension import FastfoodProjection, Projection, SparseProjection, fwht

_DENSE_BYTES = 2**28
_TYPES = (torch.float32, torch.float64)


def _vectors(P: Projection) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    t = torch.randn(P.n_components, generator=generator, dtype=P.dtype)
    return t, torch.randn(P.n_features, generator=generator, dtype=P.dtype)


def _task(P: Projection) -> str:
    kind = type(P).__name__.removesuffix("Projection").lower()
    return f"{kind}, D = {P.n_features}, d = {P.n_components}, {_name(P.dtype)},"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def bench_dense(quick: bool) -> list[Row]:
    """Compare both fast kinds with the product of a dense matrix, there and back."""
    D, d = (10**5, 200) if quick else (10**6, 1000)
    rows = []
    for dtype in _TYPES:
        matrix = torch.randn(min(d, _DENSE_BYTES // (D * dtype.itemsize)), D, dtype=dtype)
        for kind in (FastfoodProjection, SparseProjection):
            rows += _against_dense(kind(d, D, dtype=dtype), matrix, 5 if quick else 15)
    return rows


def _against_dense(P: Projection, matrix: Tensor, repeats: int) -> list[Row]:
    t, g = _vectors(P)
    columns, rows = len(matrix), []
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "apply": (lambda: P.apply(t), lambda: t[:columns] @ matrix),
        "adjoint": (lambda: P.adjoint(g), lambda: matrix @ g),
    }
    for way, pair in pairs.items():
        ours, dense = (1e3 * seconds for seconds in best_of_each(*pair, repeats=repeats))
        scaled = dense * P.n_components / columns
        target = 25.0 if P.n_features == 10**6 and isinstance(P, FastfoodProjection) else None
        rows.append(Row(f"{_task(P)} {way}", f"dense, {columns} columns, scaled", ours, scaled, target, unit="ms"))
    return rows


def _in_torch(x: Tensor) -> Tensor:
    """Transform by reshaping, a pass over all numbers for each bit of their places."""
    half = 1
    while half < len(x):
        pairs = x.view(-1, 2, half)
        x = torch.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), dim=1).view(-1)
        half *= 2
    return x


def bench_transform(quick: bool) -> list[Row]:
    """Compare the transform with torch, and with a copy."""
    rows = []
    for exponent in (12, 16) if quick else (10, 12, 16, 18, 20, 22):
        for dtype in _TYPES:
            x = torch.randn(2**exponent, dtype=dtype)
            out = torch.empty_like(x)
            if not torch.allclose(fwht(x), _in_torch(x), atol=1e-3 * 2 ** (exponent / 2)):
                raise RuntimeError("the transforms disagree")
            repeats = 5 if quick or exponent > 20 else 25
            seconds = best_of_each(
                lambda x=x: fwht(x), lambda x=x: _in_torch(x), lambda x=x, out=out: out.copy_(x), repeats=repeats
            )
            ours, in_torch, copy = (1e3 * s for s in seconds)
            task = f"fwht, 2**{exponent}, {_name(dtype)}"
            rows.append(Row(task, "torch, reshaped", ours, in_torch, 5.0 if exponent == 20 else None, unit="ms"))
            rows.append(Row(task, "a plain copy", ours, copy, unit="ms"))
    return rows


def bench_sparse(quick: bool) -> list[Row]:
    """Compare the sparse kind with sparse matrices of others."""
    D, d = (10**5, 200) if quick else (10**6, 1000)
    repeats = 5 if quick else 15
    return [row for dtype in _TYPES for row in _against_sparse(SparseProjection(d, D, dtype=dtype), repeats)]


def _against_sparse(P: SparseProjection, repeats: int) -> list[Row]:
    D, d = P.n_features, P.n_components
    t, g = _vectors(P)
    entries, values = P._entries()
    matrix = sparse.csr_matrix((values.numpy(), (entries.rows.numpy(), entries.columns.numpy())), shape=(D, d))
    turned = matrix.T.tocsr()
    in_torch, turned_in_torch = (
        torch.sparse_csr_tensor(M.indptr, M.indices, torch.as_tensor(M.data), M.shape) for M in (matrix, turned)
    )
    peer = SparseRandomProjection(d, density=D**-0.5, random_state=0).fit(sparse.csr_matrix((1, D)))
    t_array, g_array = t.numpy(), g.numpy()
    if not np.allclose(P.apply(t).numpy(), matrix @ t_array, atol=1e-4):
        raise RuntimeError("the products disagree")
    ways: dict[str, dict[str, Callable[[], object]]] = {
        "apply": {
            "ours": lambda: P.apply(t),
            "scipy CSR": lambda: matrix @ t_array,
            "torch CSR": lambda: in_torch @ t,
        },
        "adjoint": {
            "ours": lambda: P.adjoint(g),
            "scipy CSR": lambda: matrix.T @ g_array,
            "scipy CSR, transposed copy": lambda: turned @ g_array,
            "torch CSR, transposed copy": lambda: turned_in_torch @ g,
            "sklearn SparseRandomProjection": lambda: peer.transform(g_array[None]),
        },
    }
    rows = []
    for way, products in ways.items():
        ours, *others = (1e3 * seconds for seconds in best_of_each(*products.values(), repeats=repeats))
        names = [name for name in products if name != "ours"]
        task = f"{_task(P)} {way}"
        rows += [Row(task, name, ours, other, unit="ms") for name, other in zip(names, others, strict=True)]
    return rows


def bench_draws(quick: bool) -> list[Row]:
    """Compare what it takes to draw the maps."""
    D, d = (10**5, 200) if quick else (10**6, 1000)
    ours = {kind.__name__: lambda kind=kind: kind(d, D) for kind in (SparseProjection, FastfoodProjection)}
    given = sparse.csr_matrix((1, D))
    peer = SparseRandomProjection(d, density=D**-0.5, random_state=0)
    seconds = best_of_each(*ours.values(), lambda: peer.fit(given), repeats=3)
    names = zip(ours, seconds, strict=False)
    return [Row(f"draw of {name}", "sklearn SparseRandomProjection", own, seconds[-1]) for name, own in names]


_PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "dense": bench_dense,
    "transform": bench_transform,
    "sparse": bench_sparse,
    "draws": bench_draws,
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_parts("Random projections", __doc__, _PARTS)
