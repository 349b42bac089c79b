"""How far the states of a model of low rank can be from those of a dense one, checked by loops on raw sequences.

Provenance: the recursion of the error is classical. Norms of powers in the place of powers of norms, inputs that differ
and the comparison with the best transition of the rank are ours.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import Instance
from sparsetheory.gpu.representation.state_space.dense_model import DenseSSM
from sparsetheory.gpu.representation.state_space.low_rank_model import LowRankSSM
from sparsetheory.gpu.representation.state_space.runs import check_sequences
from sparsetheory.gpu.representation.state_space.scans import matrix_scan, with_first
from sparsetheory.gpu.solvers.arguments import finite_tensor
from sparsetheory.gpu.solvers.truncated_svd import truncated_svd_summary
from sparsetheory.lowrank import block_svd_error
from sparsetheory.typing import Float64Array

__all__ = ["StateErrorCertificate", "certify_states"]

# Rounding of double precision over a sequence, relative to the largest state, and of stated numbers.
_ROUNDING, _STATED = 1e-11, 1e-6


@dataclass(frozen=True, eq=False)
class StateErrorCertificate(Certificate):
    """A bound on the distance of states of two models on the same sequences, and how near transitions can be.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`. `bound` and `measured` are the largest bound and the
        largest distance over all samples of all sequences, in the unit of states.
    dense_transition : Tensor of float64 of shape (n_states, n_states)
    dense_inputs : Tensor of float64 of shape (n_states, n_inputs)
        What an input adds in the dense model.
    transition : LowRankTransition
        Of the model of low rank, in double precision.
    inputs : Tensor of float64 of shape (n_states, n_inputs)
        What an input adds in it.
    distance : float
        Spectral norm of the difference of the transitions.
    objective : float
        Frobenius norm of the difference.
    lower_bound : float
        What that norm is at least, for every transition with the same scale and rank.
    """

    dense_transition: Tensor = field(kw_only=True)
    dense_inputs: Tensor = field(kw_only=True)
    transition: Any = field(kw_only=True)
    inputs: Tensor = field(kw_only=True)
    distance: float = field(kw_only=True)
    objective: float = field(kw_only=True)
    lower_bound: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("distance", "objective", "lower_bound")

    def promise(self) -> str:
        """Return the guarantee in words."""
        rank = self.transition.left.shape[-1]
        return f"no state of the model of rank {rank} is further than {self.bound:.6g} from that of the dense model"

    def check(self, x: Any, initial: Any = None, **options: Any) -> "StateErrorCertificate":
        """Run both models sample by sample, and recompute all numbers.

        Parameters
        ----------
        x : Tensor of shape (..., T, n_inputs)
            The sequences.
        initial : Tensor of shape (..., n_states), optional
            State of both models before them.
        **options
            None are known.

        Returns
        -------
        StateErrorCertificate
            With a fresh `measured`, `status` and `reason`. The nearest transition is found by
            :func:`sparsetheory.lowrank.block_svd_error`.

        Raises
        ------
        TypeError, ValueError
            On sequences that :func:`certify_states` refuses.
        """
        if options:
            raise TypeError(f"options must be empty; got {', '.join(options)}")
        dense, inputs = _array(self.dense_transition), (_array(self.dense_inputs), _array(self.inputs))
        left, right, scale = _array(self.transition.left), _array(self.transition.right), float(self.transition.scale)
        own = scale * np.eye(len(dense)) + left @ right.T
        sequences, start = (_array(part) for part in _sequences(x, initial, inputs[0].shape[1], len(dense)))
        states, others, distances = start, start, []
        for t in range(sequences.shape[-2]):
            states = states @ dense.T + sequences[..., t, :] @ inputs[0].T
            others = others @ own.T + sequences[..., t, :] @ inputs[1].T
            distances.append(np.linalg.norm(states - others, axis=-1).max())
        # Of numbers that overflow the maximum is not a number, which no bound holds.
        measured = float(np.max(distances))
        fault = self._fault(dense, own, scale, left.shape[1])
        if not fault and not measured <= self.bound:
            fault = f"a state is {measured:.6g} from that of the dense model, not at most {self.bound:.6g}"
        return replace(self, measured=measured, status=Status.of(not fault), reason=fault).unless_misstated()

    def _fault(self, dense: Float64Array, own: Float64Array, scale: float, rank: int) -> str:
        """Return which number about the transitions is not as stated, or nothing."""
        least, off = 0.0, dense - scale * np.eye(len(dense))
        if rank < len(dense) and off.any():
            least = block_svd_error([off], rank).absolute
        found = {
            "distance": float(np.linalg.norm(dense - own, 2)),
            "objective": float(np.linalg.norm(dense - own)),
        }
        slack = _ROUNDING * float(np.linalg.norm(dense))
        for name, value in found.items():
            # What is not a number fulfils no comparison, so each one says what must hold.
            if not abs(value - getattr(self, name)) <= _STATED * value + slack:
                return f"the {name} is {value:.9g}, not {getattr(self, name):.9g}"
        if not self.lower_bound <= least * (1 + _STATED) + slack:
            return f"the lower bound is {least:.9g}, not {self.lower_bound:.9g}"
        return ""


def certify_states(
    teacher: DenseSSM, student: LowRankSSM, x: Tensor, initial: Tensor | None = None
) -> StateErrorCertificate:
    r"""Bound how far the states of a model of low rank are from those of a dense one, on given sequences.

    With transitions T and S, inputs B and D and the same first state, the distances e of the states obey
    ``e_t = S e_{t-1} + (T - S) h_{t-1} + (B - D) x_t``, so

    .. math:: \|e_t\| \le \sum_{k < t} \|S^{t-1-k}\| (\|T - S\| \|h_k\| + \|B - D\| \|x_{k+1}\|).

    Parameters
    ----------
    teacher : DenseSSM
    student : LowRankSSM
        With as many states and inputs.
    x : Tensor of shape (..., T, n_inputs)
        Finite; at least one sample.
    initial : Tensor of shape (..., n_states), optional
        State of both before the first sample; zero by default.

    Returns
    -------
    StateErrorCertificate
        Its :meth:`~StateErrorCertificate.check` takes the sequences again.

    Raises
    ------
    TypeError, ValueError
        If the sequences are not finite or empty, or the models do not fit each other.

    Notes
    -----
    The norm of a power is at most the power of the norm, and much less where the transition is stable but has a norm
    above 1. Computed in double precision from the parameters as they are; O(T n_states^3) operations for the powers. A
    model in single precision adds its own rounding.

    Examples
    --------
    >>> import torch
    >>> A, B, C = -torch.diag(torch.arange(1.0, 9.0)), torch.ones(8, 1), torch.ones(1, 8)
    >>> teacher, student = DenseSSM(A, B, C, 0.1), LowRankSSM.from_dense(A, B, C, 4, step=0.1)
    >>> x = torch.ones(50, 1)
    >>> certificate = certify_states(teacher, student, x)
    >>> certificate.check(x).valid, certificate.check(100 * x).valid
    (True, False)
    """
    Instance(DenseSSM).check("teacher", teacher)
    Instance(LowRankSSM).check("student", student)
    if teacher.B.shape != student.B.shape:
        shapes = f"{tuple(teacher.B.shape)} and {tuple(student.B.shape)}"
        raise ValueError(f"teacher and student must have equally many states and inputs; got B of shape {shapes}")
    sequences, first = _sequences(x, initial, student.B.shape[1], len(student.U))
    with torch.no_grad():
        transition, (dense, held) = student.transition().double(), teacher.discretised()
        dense, held, added = dense.double(), held.double(), student.B.detach().double()
        own = transition.dense()
        states, others = (
            matrix_scan(with_first(sequences @ inputs.mT, first @ matrix.mT), matrix)
            for matrix, inputs in ((dense, held), (own, added))
        )
        distance = float(torch.linalg.matrix_norm(dense - own, 2))
        sizes = torch.cat([first[..., None, :], states], -2).norm(dim=-1)
        added_error = float(torch.linalg.matrix_norm(held - added, 2)) * sequences.norm(dim=-1)
        driven = distance * sizes[..., :-1] + added_error
        bounds = driven @ _convolution(_power_norms(own, driven.shape[-1])).mT
        bound = float(bounds.max()) * (1 + _ROUNDING) + _ROUNDING * float(sizes.max())
        measured = float((states - others).norm(dim=-1).max())
    return StateErrorCertificate(
        statement="",
        bound=bound,
        measured=measured,
        status=Status.of(measured <= bound),
        dense_transition=dense,
        dense_inputs=held,
        transition=transition,
        inputs=added,
        distance=distance,
        objective=float(torch.linalg.matrix_norm(dense - own)),
        lower_bound=_least_distance(dense, transition),
    ).stated()


def _sequences(x: Any, initial: Any, n_inputs: int, n_states: int) -> tuple[Tensor, Tensor]:
    """Return sequences and the state before each of them, in double precision."""
    x, initial = (
        part if part is None or isinstance(part, Tensor) else torch.as_tensor(np.asarray(part)) for part in (x, initial)
    )
    check_sequences(x, n_inputs, initial, n_states)
    sequences = finite_tensor("x", x).double()
    if not sequences.numel():
        raise ValueError(f"x must hold at least one sample; got shape {tuple(x.shape)}")
    shape = (*sequences.shape[:-2], n_states)
    if initial is None:
        return sequences, sequences.new_zeros(shape)
    first = finite_tensor("initial", initial).double()
    try:
        return sequences, first.expand(shape)
    except RuntimeError:
        raise ValueError(f"initial must have shape {shape}, or broadcast to it; got {tuple(first.shape)}") from None


def _power_norms(matrix: Tensor, n: int) -> Tensor:
    """Return the spectral norms of the powers 0 to n - 1."""
    powers = [torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)]
    for _ in range(n - 1):
        powers.append(powers[-1] @ matrix)
    return torch.linalg.matrix_norm(torch.stack(powers), 2)


def _convolution(kernel: Tensor) -> Tensor:
    """Return the lower triangular matrix whose entries at (t, k) are those of the kernel at t - k."""
    places = torch.arange(len(kernel), device=kernel.device)
    lags = places[:, None] - places
    return torch.where(lags >= 0, kernel[lags.clamp(min=0)], 0.0)


def _least_distance(dense: Tensor, transition: Any) -> float:
    rank = transition.left.shape[-1]
    if rank >= len(dense):
        return 0.0
    off = dense - transition.scale * torch.eye(len(dense), dtype=dense.dtype, device=dense.device)
    return float(truncated_svd_summary(off, rank).lower) ** 0.5


def _array(values: Any) -> Float64Array:
    return torch.as_tensor(values).detach().to("cpu", torch.float64).numpy()
