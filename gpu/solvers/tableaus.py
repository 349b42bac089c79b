"""Sweep tableaus of many least-squares problems on one Gram matrix: all coefficients and prices, one entry each.

The tableau of a problem with Gram matrix G, correlations b and energy e starts as ``A = [[G, b], [b', e]]``. Sweeping
it on the columns S of a set leaves, for j in S and i outside,

- ``A[j, p]``: the least-squares coefficient of column j, and ``A[p, p]``: the least value of the quadratic;
- ``-A[j, j]``: the diagonal of the inverse of G on S;
- ``A[i, p]``: the correlation of column i with the residual, and ``A[i, i]``: what is left of its square.
"""

import torch
from torch import Tensor

__all__ = ["exchange", "sweep", "swept_tableau", "unsweep"]


def sweep(tableau: Tensor, pivot: int | Tensor) -> Tensor:
    """Sweep symmetric matrices on one pivot each: let a column enter a least-squares problem.

    With d the entry at the pivot k, entries become ``A_ij - A_ik A_kj / d``, those of row and column k ``A_ik / d``,
    and d itself ``-1 / d``.

    Parameters
    ----------
    tableau : Tensor of shape (..., n, n)
        Symmetric, with an entry at the pivot that is not zero.
    pivot : int or Tensor of int of shape (...)
        Which column enters.

    Returns
    -------
    Tensor of shape (..., n, n)
        A new tensor; O(n^2) operations for each matrix.

    See Also
    --------
    unsweep : The inverse.

    Notes
    -----
    Goodnight (1979), "A Tutorial on the SWEEP Operator".

    Examples
    --------
    >>> import torch
    >>> swept = sweep(torch.tensor([[2.0, 4.0], [4.0, 9.0]]), 0)
    >>> swept
    tensor([[-0.5000,  2.0000],
            [ 2.0000,  1.0000]])
    >>> unsweep(swept, 0)
    tensor([[2., 4.],
            [4., 9.]])
    """
    return _pivoted(tableau, pivot, 1.0)


def unsweep(tableau: Tensor, pivot: int | Tensor) -> Tensor:
    """Undo a sweep: let a column leave a least-squares problem.

    Parameters
    ----------
    tableau : Tensor of shape (..., n, n)
        Symmetric, with an entry at the pivot that is not zero.
    pivot : int or Tensor of int of shape (...)
        Which column leaves.

    Returns
    -------
    Tensor of shape (..., n, n)
        A new tensor; O(n^2) operations for each matrix.
    """
    return _pivoted(tableau, pivot, -1.0)


def _pivoted(tableau: Tensor, pivot: int | Tensor, sign: float) -> Tensor:
    n, batch = tableau.shape[-1], tableau.shape[:-2]
    flat = tableau.reshape(-1, n, n)
    k = torch.as_tensor(pivot, device=tableau.device).expand(batch).reshape(-1)
    every = torch.arange(flat.shape[0], device=tableau.device)
    column = flat[every, :, k]
    d = column[every, k].unsqueeze(1)
    scaled = column / d
    swept = torch.baddbmm(flat, column.unsqueeze(2), scaled.unsqueeze(1), alpha=-1)
    swept[every, :, k] = swept[every, k] = sign * scaled
    swept[every, k, k] = -1.0 / d.squeeze(1)
    return swept.reshape(tableau.shape)


def swept_tableau(gram: Tensor, correlations: Tensor, squares: Tensor, support: Tensor) -> Tensor:
    """Return the tableaus of many targets, each swept on its own support, by one factorisation each.

    With L the Cholesky factor of G on S and ``V = L^-1 [G_SN, b_S]``, the blocks of the swept tableau are
    ``-(L L')^-1`` on S, ``L'^-1 V`` between S and the rest, and the rest minus ``V' V``.

    Parameters
    ----------
    gram : Tensor of shape (n_features, n_features)
        Gram matrix that all targets share, positive definite on every support.
    correlations : Tensor of shape (n_targets, n_features)
        Of the columns with each target.
    squares : Tensor of shape (n_targets,)
        Squared norm of each target.
    support : Tensor of bool of shape (n_targets, n_features)
        With equally many entries in each row.

    Returns
    -------
    Tensor of shape (n_targets, n_features + 1, n_features + 1)
    """
    rows, n = correlations.shape
    size = int(support[0].sum()) if rows else 0
    full = gram.new_empty(rows, n + 1, n + 1)
    full[:, :n, :n] = gram
    full[:, n, :n] = full[:, :n, n] = correlations
    full[:, n, n] = squares
    if not size or not rows:
        return full
    inside = support.nonzero()[:, 1].view(rows, size)
    rest = torch.nn.functional.pad(~support, (0, 1), value=True)
    outside = rest.nonzero()[:, 1].view(rows, n + 1 - size)
    every = torch.arange(rows, device=gram.device).view(-1, 1, 1)
    in_in, in_out, out_out = (
        (every, a.unsqueeze(2), b.unsqueeze(1)) for a, b in ((inside, inside), (inside, outside), (outside, outside))
    )
    factor = torch.linalg.cholesky(full[in_in])
    half = torch.linalg.solve_triangular(factor, full[in_out], upper=False)
    across = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    full[in_in] = -torch.cholesky_inverse(factor)
    full[in_out] = across
    full[every, outside.unsqueeze(2), inside.unsqueeze(1)] = across.mT
    full[out_out] = torch.baddbmm(full[out_out], half.mT, half, alpha=-1)
    return full


def exchange(tableau: Tensor, leaves: Tensor, enters: Tensor, active: Tensor) -> None:
    """Let one column leave and another enter in each tableau, in place, in one pass.

    With u the column that leaves and d its pivot, taking it out subtracts ``u u' / d``. Of what is then the column that
    enters, v, and its pivot, the sweep subtracts ``v v' / v_i``. Both are one update of rank two.

    Parameters
    ----------
    tableau : Tensor of shape (n_targets, n, n)
        Swept on the columns that leave, not on those that enter.
    leaves, enters : Tensor of int of shape (n_targets,)
    active : Tensor of bool of shape (n_targets,)
        Tableaus that change.
    """
    every = torch.arange(tableau.shape[0], device=tableau.device)
    u, w = tableau[every, leaves], tableau[every, enters]
    first = u[every, leaves].unsqueeze(1)
    out = u / -first
    out[every, leaves] = -1.0 / first.squeeze(1)
    # The column that enters, once the other has left; at its own place the pivot.
    v = torch.addcmul(w, out, w[every, leaves].unsqueeze(1))
    v[every, leaves] = out[every, enters]
    second = v[every, enters].unsqueeze(1)
    into = v / second
    left = out - into * v[every, leaves].unsqueeze(1)
    left[every, enters] = into[every, leaves]
    into[every, enters] = -1.0 / second.squeeze(1)
    scales = torch.where(active.view(-1, 1, 1), torch.stack([u / first, v / second], 1), 0.0)
    left, into = torch.where(active.unsqueeze(1), left, u), torch.where(active.unsqueeze(1), into, w)
    tableau.baddbmm_(torch.stack([u, v], 2), scales, alpha=-1)
    for index, values in ((leaves, left), (enters, into)):
        tableau[every, index] = values
        tableau[every, :, index] = values
