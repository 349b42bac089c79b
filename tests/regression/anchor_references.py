"""Slow references for distances and ratios, and designs of known structure, that the tests of anchors share."""

from fractions import Fraction
from operator import mul

import numpy as np


def exact_distances(XS):
    """Leave-one-out lengths from Gram determinants in rational arithmetic."""
    exact = [[Fraction(float(v)) for v in column] for column in XS.T]
    gram = [[sum(map(mul, a, b)) for b in exact] for a in exact]
    whole = _determinant(gram)
    minors = [[row[:i] + row[i + 1 :] for row in gram[:i] + gram[i + 1 :]] for i in range(len(gram))]
    return np.sqrt([float(whole / _determinant(minor)) for minor in minors])


def _determinant(matrix):
    if not matrix:
        return Fraction(1)
    pivot, *rest = matrix
    reduced = [[b - row[0] * a / pivot[0] for a, b in zip(pivot[1:], row[1:], strict=True)] for row in rest]
    return pivot[0] * _determinant(reduced)


def outside(XT, vectors):
    """What least squares on some columns leaves of vectors."""
    if XT.shape[1] == 0:
        return vectors
    scaled = XT / np.linalg.norm(XT, axis=0)
    once = vectors - scaled @ np.linalg.lstsq(scaled, vectors, rcond=1e-12)[0]
    return once - scaled @ np.linalg.lstsq(scaled, once, rcond=1e-12)[0]


def all_distances(X, T):
    """Root-mean-square distances of all columns to the span of the columns T, zero on T."""
    distances = np.linalg.norm(outside(X[:, T], X), axis=0) / np.sqrt(X.shape[0])
    distances[np.asarray(T, dtype=int)] = 0.0
    return distances


def many_compatibilities(X, supports, distances):
    """Sums of ratios of independent supports: the distance to the others is one over a row norm of a pseudo-inverse."""
    stacked = np.moveaxis(X[:, supports], 0, 1)
    norms = np.linalg.norm(stacked, axis=1, keepdims=True)
    rows = np.linalg.norm(np.linalg.pinv(stacked / norms, rcond=1e-14), axis=2) / norms[:, 0]
    return (distances[supports] * rows).sum(axis=1) * np.sqrt(X.shape[0])


def uniform_supports(rng, d, k, count):
    """Uniform k-subsets of d columns, one per row."""
    return rng.random((count, d)).argpartition(k, axis=1)[:, :k]


def clustered(rng, n, d, groups, scale):
    """Columns near `groups` common directions, at distances of a random share of `scale`."""
    heads, labels = rng.standard_normal((n, groups)), rng.integers(groups, size=d)
    return heads[:, labels] + scale * rng.uniform(0.1, 1.0, d) * rng.standard_normal((n, d))
