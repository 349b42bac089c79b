"""Least-squares coefficients of rows on the mask that they share."""

import numpy as np
import torch

from sparsetheory.gpu.weights.search.problem import Problem
from sparsetheory.gpu.weights.search.sweeping import factor, picked
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["refit"]


def refit(problem: Problem, row: slice, kept: BoolArray) -> Float64Array:
    """Return the coefficients of a block of rows, zero outside a mask of shape (in,). O(kept^3).

    Raises
    ------
    RuntimeError
        If the matrix is not positive semidefinite.
    """
    index, weight = np.flatnonzero(kept), np.zeros((row.stop - row.start, kept.size))
    lower = factor(picked(problem.H, index, index))
    target = torch.from_numpy(problem.b[row].numpy()[:, index])
    weight[:, index] = torch.cholesky_solve(target.mT, lower).mT.numpy()
    return weight
