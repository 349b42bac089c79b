"""Least squares with weights that are not negative on a processor: compiled, one target after the other."""

import warnings

import torch
from torch import Tensor

from sparsetheory.gpu.solvers.arguments import in_memory_chunks

__all__ = ["compiled_nnls", "compiled_simplex_fits", "compiled_swaps", "warn_of_late"]


def warn_of_late(late: int, n_targets: int) -> None:
    """Warn where fits were not done."""
    if late:
        message = f"{late} fits of {n_targets} targets were not done in 10 n steps"
        warnings.warn(message, RuntimeWarning, stacklevel=5)


def compiled_nnls(grams: Tensor, rows: Tensor, n_nonzero: int, *, sum_to_one: bool) -> tuple[Tensor, Tensor]:
    """Do what :func:`sparsetheory.gpu.solvers.nonnegative.nnls_and_few` does, for tensors on a processor."""
    from sparsetheory.numba_kernels.quadratic.nonnegative import fit_grams, reserve

    minimum, few = torch.empty((2, *rows.shape), dtype=torch.float64)
    n, late = rows.shape[1], 0
    room = reserve(n, n_nonzero)
    for part in _chunks(grams):
        arrays = (_double(value).numpy() for value in (grams[part], rows[part]))
        late += fit_grams(*arrays, n_nonzero, sum_to_one, minimum[part].numpy(), few[part].numpy(), room)
    warn_of_late(late, len(rows))
    return minimum, few


def compiled_swaps(grams: Tensor, rows: Tensor, x: Tensor, n_nonzero: int, *, sum_to_one: bool) -> Tensor:
    """Do what :func:`sparsetheory.gpu.solvers.nonnegative_swaps.swap_nonnegative` does, on a processor."""
    from sparsetheory.numba_kernels.quadratic.nonnegative import exchange_columns, reserve

    x, late = x.detach().to(torch.float64, copy=True).contiguous(), 0
    room = reserve(x.shape[1], n_nonzero)
    for part in _chunks(grams):
        arrays = (_double(value).numpy() for value in (grams[part], rows[part]))
        late += exchange_columns(*arrays, x[part].numpy(), n_nonzero, sum_to_one, room)
    warn_of_late(late, len(x))
    return x


def compiled_simplex_fits(misses: Tensor, n_nonzero: int, *, swaps: bool) -> tuple[Tensor, Tensor]:
    """Find weights on the simplex whose mixtures of columns are short, on a processor.

    Parameters
    ----------
    misses : Tensor of shape (n_targets, n_rows, n)
        The columns of each target.
    n_nonzero : int
        Largest number of nonzeros of a target.
    swaps : bool
        Whether exchanges of one column for another one follow.

    Returns
    -------
    minimum, few : Tensor of float64 of shape (n_targets, n)
        The minimisers, and weights with few nonzeros.
    """
    from sparsetheory.numba_kernels.quadratic.nonnegative import fit_misses, reserve

    n_targets, _, n = misses.shape
    minimum, few = torch.empty((2, n_targets, n), dtype=torch.float64)
    room = reserve(n, n_nonzero)
    late = fit_misses(_double(misses).numpy(), n_nonzero, swaps, minimum.numpy(), few.numpy(), room)
    warn_of_late(late, n_targets)
    return minimum, few


def _chunks(grams: Tensor) -> list[slice]:
    """Return parts whose copies in double precision, where they are needed, fit into caches."""
    return in_memory_chunks(len(grams), 8 * grams[0].numel() if len(grams) else 1, grams.device)


def _double(values: Tensor) -> Tensor:
    return values.detach().to(torch.float64).contiguous()
