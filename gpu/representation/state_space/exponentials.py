"""Exponentials of matrices of low rank, and zero-order hold of inputs, exact through small tables.

Provenance: the exponential of a product of factors is a known identity. Its form with a shift, the hold of inputs by a
second divided difference and the code are ours.
"""

import torch
from torch import Tensor

from sparsetheory.constraints import FINITE, POSITIVE
from sparsetheory.gpu.representation.state_space.transitions import LowRankTransition
from sparsetheory.gpu.solvers.arguments import finite_tensor, together

__all__ = [
    "dense_hold",
    "held_inputs",
    "lowrank_expm",
    "lowrank_transition",
    "lowrank_zero_order_hold",
    "zero_order_hold",
]

# What exponentials of matrices can be computed in.
_PRECISE = (torch.float32, torch.float64)


def lowrank_expm(U: Tensor, V: Tensor, step: float | Tensor, shift: float | Tensor = 0.0) -> Tensor:
    r"""Return the exponential of ``step (U V' - shift I)``, through the exponential of a small matrix.

    Parameters
    ----------
    U, V : Tensor of shape (..., n, r)
        Factors, on one device.
    step : float or Tensor of shape (...)
        Positive. It broadcasts against the batch, as `shift` does; both may need gradients.
    shift : float or Tensor of shape (...)
        What is taken off the diagonal: positive for a decay.

    Returns
    -------
    Tensor of shape (..., n, n)
        On the device and in the dtype of the factors, with gradients.

    Raises
    ------
    TypeError
        If a factor is not a tensor of floating-point numbers.
    ValueError
        If a factor is not finite, shapes or devices do not fit, or `step` is not positive.

    Notes
    -----
    With ``M = step V' U`` and ``phi_1(M) = (exp(M) - I) M^-1``, which is the identity at 0,

    .. math:: e^{\Delta (U V^\top - \alpha I)} = e^{-\alpha \Delta} (I + \Delta\, U\, \phi_1(M)\, V^\top).

    The table ``e^{-alpha step} phi_1(M)`` is the upper right block of one exponential of size 2 r, so no matrix is
    inverted. O(n r^2 + r^3) operations for the factors of the result, O(n^2 r) to write it down. Its error is that of
    rounding relative to ``max(1, |exp|)``, times the size of the factors: where all modes decay, the identity cancels.
    Half precision is computed in single precision.

    References
    ----------
    N. J. Higham, "Functions of Matrices: Theory and Computation", SIAM 2008, theorem 1.35 and section 10.7.

    Examples
    --------
    >>> import torch
    >>> U, V = torch.randn(2, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(lowrank_expm(U, V, 0.1, 2.0), torch.linalg.matrix_exp(0.1 * (U @ V.T - 2 * torch.eye(6))))
    True
    """
    _check_factors(U, V)
    return lowrank_transition(U, V, _positive(step), _finite("shift", shift)).dense()


def zero_order_hold(A: Tensor, B: Tensor, step: float | Tensor) -> tuple[Tensor, Tensor]:
    r"""Return what a state and an input become after a step in which the input is held: of ``dh/dt = A h + B x``.

    Parameters
    ----------
    A : Tensor of shape (..., n, n)
        May be singular.
    B : Tensor of shape (..., n, n_inputs)
    step : float or Tensor of shape (...)
        Time between two samples, positive.

    Returns
    -------
    transition : Tensor of shape (..., n, n)
        ``exp(step A)``.
    inputs : Tensor of shape (..., n, n_inputs)
        ``step phi_1(step A) B``.

    Raises
    ------
    TypeError
        If a matrix is not a tensor of floating-point numbers.
    ValueError
        If it is not finite, shapes or devices do not fit, or `step` is not positive.

    Notes
    -----
    Both are blocks of the exponential of ``step [[A, B], [0, 0]]``, O((n + n_inputs)^3) operations.

    Examples
    --------
    >>> import torch
    >>> zero_order_hold(torch.zeros(1, 1), torch.ones(1, 1), 0.5)  # an integrator
    (tensor([[1.]]), tensor([[0.5000]]))
    """
    n = finite_tensor("A", A, least_axes=2).shape[-1]
    if A.shape[-2] != n or finite_tensor("B", B, least_axes=2).shape[-2] != n:
        raise ValueError(f"A must be square, and B have as many rows; got {tuple(A.shape)} and {tuple(B.shape)}")
    together(A=A, B=B)
    return dense_hold(A, B, _positive(step))


def lowrank_zero_order_hold(
    U: Tensor, V: Tensor, B: Tensor, step: float | Tensor, shift: float | Tensor = 0.0
) -> Tensor:
    r"""Return what an input that is held for a step adds to the state, of ``dh/dt = (U V' - shift I) h + B x``.

    Parameters
    ----------
    U, V : Tensor of shape (..., n, r)
    B : Tensor of shape (..., n, n_inputs)
    step, shift : float or Tensor of shape (...)
        As in :func:`lowrank_expm`.

    Returns
    -------
    Tensor of shape (..., n, n_inputs)
        In the dtype of all three, with gradients.

    Raises
    ------
    TypeError, ValueError
        As in :func:`lowrank_expm`.

    Notes
    -----
    With ``a = -shift step`` the result is ``step (phi_1(a) B + step U T V' B)``, where the table T is the divided
    difference of phi_1 between a and ``a I + M``. It is a block of one exponential of size 3 r; nothing is inverted, so
    the transition may be singular. O(n r (r + n_inputs) + r^3) operations.

    Examples
    --------
    >>> import torch
    >>> U, V, B = torch.randn(3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> _, dense = zero_order_hold(U @ V.T - 2 * torch.eye(6), B, 0.1)
    >>> torch.allclose(lowrank_zero_order_hold(U, V, B, 0.1, 2.0), dense)
    True
    """
    _check_factors(U, V)
    if finite_tensor("B", B, least_axes=2).shape[-2] != U.shape[-2]:
        raise ValueError(f"B must have one row for each of {U.shape[-2]} states; got shape {tuple(B.shape)}")
    together(U=U, B=B)
    if U.dtype != B.dtype:
        raise ValueError(f"B must have the dtype of U and V, {U.dtype}; got {B.dtype}")
    return held_inputs(U, V, B, _positive(step), _finite("shift", shift))


def dense_hold(A: Tensor, B: Tensor, step: float | Tensor) -> tuple[Tensor, Tensor]:
    """Do what :func:`zero_order_hold` does; nothing is checked."""
    n = A.shape[-1]
    step = torch.as_tensor(step, dtype=_precise(A), device=A.device)
    batch = torch.broadcast_shapes(A.shape[:-2], B.shape[:-2], step.shape)
    top = torch.cat([part.to(step.dtype).expand(*batch, *part.shape[-2:]) for part in (A, B)], -1)
    block = torch.cat([top, top.new_zeros(*batch, B.shape[-1], top.shape[-1])], -2)
    held = torch.linalg.matrix_exp(block * step[..., None, None])[..., :n, :]
    return held[..., :n].to(A.dtype), held[..., n:].to(A.dtype)


def lowrank_transition(U: Tensor, V: Tensor, step: float | Tensor, shift: float | Tensor) -> LowRankTransition:
    """Return ``exp(step (U V' - shift I))`` as a multiple of the identity and a product; nothing is checked."""
    step, shift = (torch.as_tensor(one, dtype=_precise(U), device=U.device) for one in (step, shift))
    table = _divided(U, V, step, shift, 2)[..., : U.shape[-1], U.shape[-1] :]
    left = step.to(U.dtype)[..., None, None] * (U @ table.to(U.dtype))
    return LowRankTransition((-shift * step).exp().to(U.dtype), left, V)


def held_inputs(U: Tensor, V: Tensor, B: Tensor, step: float | Tensor, shift: float | Tensor) -> Tensor:
    """Do what :func:`lowrank_zero_order_hold` does; nothing is checked."""
    step, shift = (torch.as_tensor(one, dtype=_precise(U), device=U.device) for one in (step, shift))
    rank = U.shape[-1]
    tables = _divided(U, V, step, shift, 3)
    alone = tables[..., rank, 2 * rank].to(B.dtype)[..., None, None]
    table = tables[..., :rank, 2 * rank :].to(B.dtype)
    step = step.to(B.dtype)[..., None, None]
    return step * (alone * B + step * (U @ (table @ (V.mT @ B))))


def _divided(U: Tensor, V: Tensor, step: Tensor, shift: Tensor, n_blocks: int) -> Tensor:
    """Return divided differences of the exponential at ``a I + M``, ``a I`` and 0, as blocks above the diagonal.

    They are blocks of the exponential of a matrix with these on its diagonal and identities beside it. The second one
    of the exponential is the first one of phi_1.
    """
    rank = U.shape[-1]
    inner = step[..., None, None] * (V.mT @ U).to(step.dtype)
    one = torch.eye(rank, dtype=inner.dtype, device=inner.device)
    batch = torch.broadcast_shapes(inner.shape[:-2], step.shape, shift.shape)
    decay = (-shift * step)[..., None, None] * one
    diagonal = [inner + decay, decay, torch.zeros_like(one)][:n_blocks]
    rows = []
    for index, block in enumerate(diagonal):
        parts = [torch.zeros_like(one)] * n_blocks
        parts[index] = block
        if index + 1 < n_blocks:
            parts[index + 1] = one
        rows.append(torch.cat([part.expand(*batch, rank, rank) for part in parts], -1))
    return torch.linalg.matrix_exp(torch.cat(rows, -2))


def _precise(tensor: Tensor) -> torch.dtype:
    return tensor.dtype if tensor.dtype in _PRECISE else torch.float32


def _check_factors(U: Tensor, V: Tensor) -> None:
    for name, factor in (("U", U), ("V", V)):
        finite_tensor(name, factor, least_axes=2)
    together(U=U, V=V)
    if U.dtype != V.dtype:
        raise ValueError(f"U and V must have one dtype; got {U.dtype} and {V.dtype}")
    if U.shape[-2:] != V.shape[-2:]:
        raise ValueError(f"U and V must have equally many rows and columns; got {tuple(U.shape)} and {tuple(V.shape)}")


def _positive(step: float | Tensor) -> float | Tensor:
    if not isinstance(step, Tensor):
        return float(POSITIVE.check("step", step))
    if not bool((torch.isfinite(step) & (step > 0)).all()):
        raise ValueError(f"step must be {POSITIVE}; got {step}")
    return step


def _finite(name: str, value: float | Tensor) -> float | Tensor:
    if not isinstance(value, Tensor):
        return float(FINITE.check(name, value))
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name} must be {FINITE}; got {value}")
    return value
