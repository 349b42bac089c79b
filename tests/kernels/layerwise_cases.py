"""Correlated problems, and refits by plain least squares that share no code with the searches."""

import itertools

import numpy as np
import torch


def problem(rows, columns, seed=0, condition=1e3):
    """Weights and a Gram matrix with a decaying spectrum and columns of different size."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    H = (Q * np.logspace(0, -np.log10(condition), columns)) @ Q.T
    scale = rng.uniform(0.5, 2.0, columns)
    H = H * scale * scale[:, None]
    return torch.from_numpy(rng.standard_normal((rows, columns))), torch.from_numpy((H + H.T) / 2)


def start(W, H, pattern):
    """The mask of the scores |w_j| sqrt(H_jj)."""
    return pattern.mask(W.abs() * H.diagonal().sqrt())


def refit(w, H, mask):
    """Coefficients and objective of one row, by least squares on a square root of the matrix."""
    values, vectors = np.linalg.eigh(H.numpy())
    root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    kept, s = np.flatnonzero(np.asarray(mask)), np.zeros(len(w))
    s[kept] = np.linalg.lstsq(root[:, kept], root @ w.numpy(), rcond=None)[0]
    left = root @ (w.numpy() - s)
    return s, float(left @ left)


def swaps(mask, m):
    """All pairs of a kept and another column of the same group of m."""
    for j, i in itertools.product(np.flatnonzero(mask), np.flatnonzero(~np.asarray(mask))):
        if i // m == j // m:
            yield int(j), int(i)


def swapped(mask, j, i):
    """The mask after a swap."""
    other = np.asarray(mask).copy()
    other[j], other[i] = False, True
    return other


def best_gain(W, H, mask, m):
    """Gain of the best swap of rows that share a mask, by a refit for each swap."""
    now = sum(refit(w, H, mask)[1] for w in W)
    return max(now - sum(refit(w, H, swapped(mask, j, i))[1] for w in W) for j, i in swaps(mask, m))


def energy(W, H):
    """Sum of ``w' H w``."""
    return float(((W @ H) * W).sum())
