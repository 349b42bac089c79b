"""Dense definitions of everything that the structured code computes, and literal versions of published loops."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.optimize import nnls


@dataclass
class Dense:
    """Posterior quantities by explicit inverses."""

    mean: np.ndarray
    cov: np.ndarray
    S: np.ndarray
    q: np.ndarray
    cost: float
    noise_em: float
    noise_mm: float


def kron(factors):
    return reduce(np.kron, factors)


def dense_posterior(A, y, G, s2):
    """Posterior of one vector or of snapshots in columns."""
    Y = y.reshape(A.shape[0], -1)
    C = s2 * np.eye(A.shape[0]) + (A * G) @ A.conj().T
    inverse = np.linalg.inv(C)
    S = A.conj().T @ inverse @ Y
    q = np.einsum("mn,mk,kn->n", A.conj(), inverse, A).real
    cov = np.diag(G) - (G[:, None] * A.conj().T) @ inverse @ (A * G)
    mean = G[:, None] * S
    cost = np.linalg.slogdet(C)[1] + np.mean(np.einsum("mt,mk,kt->t", Y.conj(), inverse, Y).real)
    misfit = np.mean(np.sum(np.abs(Y - A @ mean) ** 2, axis=0))
    noise_em = (misfit + np.trace(A @ cov @ A.conj().T).real) / A.shape[0]
    noise_mm = np.sqrt(misfit / np.trace(inverse).real)
    return Dense(mean, cov, S, q, cost, noise_em, noise_mm)


def random_problem(rng, d, is_complex, snapshots=None, low=1):
    """Small Gaussian dictionaries, measurements, factors."""
    rows, columns = rng.integers(low, 6, d), rng.integers(low, 7, d)

    def normal(*shape):
        return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if is_complex else 0.0)

    As = [normal(m, n) for m, n in zip(rows, columns, strict=True)]
    M = int(np.prod(rows))
    y = normal(M) if snapshots is None else normal(M, snapshots)
    gammas = [rng.uniform(0.01, 2, n) for n in columns]
    return As, y, gammas, float(10 ** rng.uniform(-3, 1))


def in_units(p):
    """Return dictionaries with columns of unit norm and data of mean square one, where solvers work as published."""
    As = [A / np.linalg.norm(A, axis=0) for A in p.dictionaries]
    unit = np.sqrt(np.mean(np.abs(p.y) ** 2))
    return As, p.y / unit, p.noise_variance / unit**2


def ones_of(As):
    """Return the published start."""
    return [np.ones(A.shape[1]) for A in As]


def _am(Lam, g, tol, relative, sweeps, project=None):
    d, old, count, moving = Lam.ndim, reduce(np.multiply.outer, g), 0, True
    while moving and count < sweeps:
        for k in range(d):
            T = Lam
            for j in range(d):
                if j != k:
                    T = T / g[j].reshape([-1 if i == j else 1 for i in range(d)])
            g[k] = g[k].size / Lam.size * T.sum(axis=tuple(j for j in range(d) if j != k))
            if project is not None:
                g[k] = project(k, g[k])
        for k in range(d - 1):
            norm = np.linalg.norm(g[k])
            g[k], g[-1] = g[k] / norm, g[-1] * norm
        new = reduce(np.multiply.outer, g)
        change = np.linalg.norm(new - old) / (np.linalg.norm(old) if relative else 1.0)
        old, count, moving = new, count + 1, change > tol
    return g, count


def _svd(Lam):
    g, T = [], Lam
    for n in Lam.shape[:-1]:
        U, s, Vh = np.linalg.svd(T.reshape(n, -1), full_matrices=False)
        g.append(np.abs(U[:, 0]))
        T = np.abs(s[0] * Vh[0])
    return [*g, T.reshape(-1)]


def published_loop(As, y, kind, s2, *, R=150, tol=1e-4, rel=0.0, absolute=0.0, inner=(1e-4, True, 10**6), beta=None):
    """Return x and the number of iterations of the published loop, with dense matrices on full grids.

    `kind` is "am", "svd" or "pc"; `s2` None learns the noise; `beta` holds one weight or None per mode.
    """
    As, d = list(As), len(As)
    sizes = [A.shape[1] for A in As]
    rel, absolute = (np.broadcast_to(v, d) for v in (rel, absolute))
    learn = s2 is None
    s2 = 0.1 * np.var(y, ddof=1) if learn else s2
    C = [np.eye(n) + (b or 0) * (np.eye(n, k=1) + np.eye(n, k=-1)) for n, b in zip(sizes, beta or [0] * d, strict=True)]
    g = [Ck @ np.ones(n) for Ck, n in zip(C, sizes, strict=True)]
    kept = [np.arange(n) for n in sizes]

    def full(values):
        grid = np.zeros(sizes, dtype=values.dtype)
        grid[np.ix_(*kept)] = values
        return grid

    r, moving = 0, True
    while moving and r < R:
        old = full(reduce(np.multiply.outer, g))
        for k in range(d):
            mask = ~((g[k] < rel[k] * g[k].max()) | (g[k] < absolute[k]))
            g[k], kept[k], As[k], C[k] = g[k][mask], kept[k][mask], As[k][:, mask], C[k][np.ix_(mask, mask)]
        dense = dense_posterior(kron(As), y, kron(g), s2)
        shape = [x.size for x in g]
        Lam = (np.diag(dense.cov).real + np.abs(dense.mean[:, 0]) ** 2).reshape(shape)
        if kind == "svd":
            g = _svd(Lam)
        elif kind == "am":
            g, _ = _am(Lam, list(g), *inner)
        else:
            g, _ = _am(Lam, list(g), *inner, lambda k, v: 1e-5 + C[k] @ nnls(C[k], v)[0] if beta[k] else v)
        s2 = dense.noise_em if learn else s2
        r, moving = r + 1, np.linalg.norm(full(reduce(np.multiply.outer, g)) - old) > tol * np.linalg.norm(old)
    mean = dense_posterior(kron(As), y, kron(g), s2).mean[:, 0].reshape([x.size for x in g])
    return full(mean).reshape(-1), r
