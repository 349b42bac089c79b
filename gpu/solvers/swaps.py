"""Swap search over the supports of many rows at once, every swap priced with its exact least-squares refit."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import MISSING, SIZE
from sparsetheory.gpu.core.patterns import NM, Pattern, PerRow
from sparsetheory.gpu.solvers.arguments import finite_tensor, in_memory_chunks, together
from sparsetheory.gpu.solvers.tableaus import exchange, swept_tableau

__all__ = ["SwapSearch", "swap_search"]

# A swap must lower the objective by this share of the energy of the row; pivots must exceed this share of a diagonal.
_LEAST = 1e-12
# The objective that the tableau carries along may be off by this share of the energy; else coefficients are solved for.
_DRIFT = 1e-8
# Copies of a tableau that are alive while the first one is made.
_COPIES = 3


@dataclass(frozen=True, eq=False)
class SwapSearch:
    """Sparse rows of which no single swap within the pattern, with refit, is better.

    Attributes
    ----------
    weight : Tensor of shape (n_rows, n_features)
        Least squares on the mask, zero elsewhere; in the dtype of the rows.
    mask : Tensor of bool of shape (n_rows, n_features)
    objective : Tensor of float64 of shape (n_rows,)
        ``(w - s) H (w - s)'`` of each row.
    n_swaps : Tensor of int64 of shape (n_rows,)
        Swaps taken.
    """

    weight: Tensor
    mask: Tensor
    objective: Tensor
    n_swaps: Tensor


def swap_search(W: Tensor, H: Tensor, mask: Tensor, pattern: Pattern, *, max_swaps: int | None = None) -> SwapSearch:
    """Exchange kept and dropped entries of each row while that lowers its error, refitting all kept ones.

    For a row w minimise ``(w - s) H (w - s)'`` over s whose support the pattern allows: best-subset regression with the
    Gram matrix H and the correlations ``w H``. Every step takes the swap of the largest gain; the lowest positions win
    ties, first of the entry that leaves, then of the one that enters.

    Parameters
    ----------
    W : Tensor of shape (n_rows, n_features)
        Dense rows.
    H : Tensor of shape (n_features, n_features)
        Symmetric, positive definite on every support, with damping if it is wanted. Columns of diagonal zero are dead:
        their coefficients are zero.
    mask : Tensor of bool of shape (n_rows, n_features)
        Where to start: for N:M n entries of each group, else any number of entries, which each row keeps.
    pattern : NM or PerRow
        Which swaps are allowed: within groups along the last axis, or within the row.
    max_swaps : int, optional
        Most swaps per row; by default as many as improve.

    Returns
    -------
    SwapSearch

    Raises
    ------
    TypeError, ValueError
        If shapes, devices or entries do not fit, the mask is not of the pattern, or `H` is singular on a support.

    Notes
    -----
    Computed in double precision, whatever the dtype of `W`. Each row has a sweep tableau of ``(n_features + 1)^2``
    numbers, in which every swap has its price: with j leaving and i entering, c their entry, s_j the coefficient and
    P_j the entry of the inverse, ``(A_ip + c s_j / P_j)^2 / (A_ii + c^2 / P_j) - s_j^2 / P_j``. A swap is one update of
    rank two for all rows of a chunk. The result does not depend on how rows are cut into chunks, up to rounding. Kept
    columns that a swap leaves unable to be told apart, a pivot of at most 1e-12 of the diagonal, are not swapped in.

    Examples
    --------
    >>> import torch
    >>> W, H = torch.tensor([[1.0, 1.0, 0.9, 0.1]]), torch.eye(4)
    >>> start = torch.tensor([[False, False, True, True]])
    >>> found = swap_search(W, H, start, NM(2, 4))
    >>> found.weight, found.n_swaps.tolist(), round(float(found.objective), 4)
    (tensor([[1., 1., 0., 0.]]), [2], 0.82)
    """
    rows, gram, group = _checked(W, H, mask, pattern)
    (MISSING | SIZE).check("max_swaps", max_swaps)
    found = SwapSearch(
        torch.zeros_like(rows),
        mask.clone(),
        rows.new_zeros(rows.shape[0]),
        torch.zeros(rows.shape[0], dtype=torch.int64, device=W.device),
    )
    counts, n = mask.sum(1), W.shape[1]
    for count in counts.unique().tolist():
        same = (counts == count).nonzero().squeeze(1)
        for part in in_memory_chunks(same.numel(), 8 * _COPIES * (n + 1) ** 2, W.device):
            _search(rows, gram, group, same[part], found, max_swaps)
    return SwapSearch(found.weight.to(W.dtype), found.mask, found.objective, found.n_swaps)


def _checked(W: Tensor, H: Tensor, mask: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor, int]:
    """Return rows and Gram matrix in double precision, without dead columns, and the size of groups."""
    rows, gram = finite_tensor("W", W).double(), finite_tensor("H", H).double()
    if rows.ndim != 2 or gram.shape != (rows.shape[1], rows.shape[1]):
        raise ValueError(
            f"H must have one row and one column per column of W; got shapes {tuple(H.shape)} and {tuple(W.shape)}"
        )
    if not torch.allclose(gram, gram.T, rtol=0.0, atol=1e-8 * float(gram.abs().amax())):
        raise ValueError("H must be symmetric; got entries that differ across the diagonal")
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != rows.shape:
        raise ValueError(f"mask must be a tensor of bool of shape {tuple(rows.shape)}")
    together(W=W, H=H, mask=mask)
    group = _group(pattern, rows, mask)
    dead = gram.diagonal() == 0
    return torch.where(dead, 0.0, rows), (gram + gram.T) / 2 + torch.diag(dead.double()), group


def _group(pattern: Pattern, rows: Tensor, mask: Tensor) -> int:
    """Return the size of the groups within which entries are swapped."""
    if isinstance(pattern, PerRow):
        return rows.shape[1]
    if not isinstance(pattern, NM) or pattern.axis not in (-1, 1):
        raise ValueError(f"pattern must be NM along the last axis, or PerRow; got {pattern!r}")
    pattern.check_shape(rows.shape, name="W")
    if bool((mask.view(rows.shape[0], -1, pattern.m).sum(-1) != pattern.n).any()):
        raise ValueError(f"mask must keep {pattern.n} of every {pattern.m} entries; some groups keep another number")
    return pattern.m


def _search(rows: Tensor, gram: Tensor, group: int, place: Tensor, found: SwapSearch, max_swaps: int | None) -> None:
    """Search for the best supports of some rows with equally many entries; write what was found."""
    limit = max_swaps if max_swaps is not None else torch.iinfo(torch.int64).max
    correlations = rows[place] @ gram
    energies = (correlations * rows[place]).sum(1)
    mask = found.mask[place]
    tableau = _start(gram, correlations, energies, mask)
    swaps = torch.zeros_like(place)
    while place.numel():
        gain, leaves, enters = _best_swaps(tableau, gram.diagonal(), mask, group)
        active = (gain > _LEAST * energies) & (swaps < limit)
        if int(active.sum()) <= 0.75 * active.numel():
            # Rows that are done go; the others close ranks.
            _finish(tableau, rows, gram, mask, swaps, place, ~active, found)
            tableau, mask, swaps, place, energies = (x[active] for x in (tableau, mask, swaps, place, energies))
            leaves, enters = leaves[active], enters[active]
            active = active[active]
        exchange(tableau, leaves, enters, active)
        changed = active.nonzero().squeeze(1)
        mask[changed, leaves[changed]], mask[changed, enters[changed]] = False, True
        swaps += active


def _start(gram: Tensor, correlations: Tensor, energies: Tensor, mask: Tensor) -> Tensor:
    try:
        return swept_tableau(gram, correlations, energies, mask)
    except torch.linalg.LinAlgError as error:
        raise ValueError("H must be positive definite on the support of every row; add damping") from error


def _best_swaps(tableau: Tensor, diagonal: Tensor, mask: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest gain of each row, and the columns that leave and enter for it."""
    count, n = mask.shape
    groups = n // group
    inside = mask.nonzero()[:, 1].view(count, groups, -1)
    outside = (~mask).nonzero()[:, 1].view(count, groups, -1)
    kept, dropped = inside.shape[2], outside.shape[2]
    if not kept or not dropped:
        nothing = torch.zeros(count, dtype=torch.int64, device=mask.device)
        return tableau.new_full((count,), -torch.inf), nothing, nothing
    every = torch.arange(count, device=mask.device).view(-1, 1, 1)
    own, border = tableau.diagonal(dim1=1, dim2=2), tableau[:, n]
    entry = tableau[every.unsqueeze(3), inside.unsqueeze(3), outside.unsqueeze(2)]
    coefficient, inverse = border[every, inside].unsqueeze(3), -own[every, inside].unsqueeze(3)
    residual, left = border[every, outside].unsqueeze(2), own[every, outside].unsqueeze(2)
    ratio = entry / inverse
    below = torch.addcmul(left, entry, ratio)
    gain = torch.addcmul(residual, ratio, coefficient).square_().div_(below)
    gain -= coefficient.square() / inverse
    gain.masked_fill_(below <= _LEAST * diagonal[outside].unsqueeze(2), -torch.inf)
    best, index = gain.view(count, -1).max(1)
    row = index // dropped
    leaves = inside.view(count, -1).gather(1, row.unsqueeze(1)).squeeze(1)
    enters = outside.view(count, -1).gather(1, (row // kept * dropped + index % dropped).unsqueeze(1)).squeeze(1)
    return best, leaves, enters


def _finish(
    tableau: Tensor,
    rows: Tensor,
    gram: Tensor,
    mask: Tensor,
    swaps: Tensor,
    place: Tensor,
    done: Tensor,
    found: SwapSearch,
) -> None:
    """Write the coefficients of some rows, after their objective has been computed without the tableau."""
    where, kept, n = place[done], mask[done], mask.shape[1]
    dense = rows[where]
    weight, carried = torch.where(kept, tableau[done, n, :n], 0.0), tableau[done, n, n]
    correlations = dense @ gram
    energies = (correlations * dense).sum(1)
    objective = _objective(dense - weight, gram)
    drifted = (carried - objective).abs() > _DRIFT * energies
    if bool(drifted.any()):
        fresh = _start(gram, correlations[drifted], energies[drifted], kept[drifted])
        weight[drifted] = torch.where(kept[drifted], fresh[:, n, :n], 0.0)
        objective = _objective(dense - weight, gram)
    found.weight[where], found.mask[where] = weight, kept
    found.objective[where], found.n_swaps[where] = objective, swaps[done]


def _objective(off: Tensor, gram: Tensor) -> Tensor:
    return ((off @ gram) * off).sum(1)
