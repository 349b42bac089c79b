"""A linear state space model whose transition has low rank: from sample to sample, or in continuous time.

Provenance: the transition of low rank is that of DLRMamba, of which no code was found. The form with a shift, the
columns beside the low rank and the recurrence of reduced order are ours.
"""

import math
from typing import Self

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, FINITE, MISSING, POSITIVE, Choice, Integer
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.state_space.balanced import balanced_factors, nearest_shift
from sparsetheory.gpu.representation.state_space.dense_model import check_system
from sparsetheory.gpu.representation.state_space.exponentials import dense_hold, held_inputs, lowrank_transition
from sparsetheory.gpu.representation.state_space.runs import SSMRun, check_sequences
from sparsetheory.gpu.representation.state_space.scans import delayed, matrix_scan, scalar_scan, with_first
from sparsetheory.gpu.representation.state_space.transitions import LowRankTransition
from sparsetheory.gpu.weights.factors.low_rank_columns import low_rank_plus_columns

__all__ = ["LowRankSSM"]

# Spectral radius that an unstable start is clipped to.
_CLIPPED = 0.999

# Spectral norm of random factors: of what decays by the shift in continuous time, and from sample to sample.
_SHARE, _NORM = 0.5, 0.9


class LowRankSSM(nn.Module):
    r"""A linear state space model ``h_t = T h_{t-1} + B x_t``, ``y_t = C h_t`` with a transition T of low rank.

    In the form "paper" it is ``T = U V'``. A transition over a short time is near the identity, which no matrix of low
    rank is. The form "shifted" is ``T = exp(step (U V' - shift I))``: the low rank is in continuous time, and all other
    directions decay alike. Both take O(n_states rank) operations a step.

    Parameters
    ----------
    n_states : int
    rank : int
        From 1 to `n_states`.
    parametrization : {"shifted", "paper"}
    n_inputs, n_outputs : int
    n_columns : int
        Columns of the matrix of low rank that are whole and free besides: ``U V' + S``.
    step : float
        Time between two samples, positive.
    shift : float
        Rate at which states decay alone, positive; the form "paper" has none.
    generator : torch.Generator, int or None
        Source of the weights, drawn on the CPU. The model that is drawn is stable.

    Raises
    ------
    ValueError
        If an argument is out of range.

    See Also
    --------
    sparsetheory.gpu.weights.LOSTLinear : The same split of the weight of a linear layer.

    Notes
    -----
    `U` and `V`, of shape (n_states, rank), take ``2 rank / n_states`` of the numbers of a dense transition: none are
    saved from ``rank = n_states / 2`` on. `B` is what an input adds from sample to sample, so its hold is done already.

    A state of n numbers whose transition has rank r needs no n numbers to go on. ``z = V' h`` follows a recurrence of
    its own, of r numbers, and outputs follow from z, the inputs and one decay. So outputs take O(T (r^2 + n_inputs r))
    operations and no states; :meth:`run` makes states where a loss reads them. In the form "paper" the outputs are
    those of a dense model of r states that adds a multiple of the current input.

    References
    ----------
    Zhang, Tabaro, Abdelmoniem, An, "DLRMamba: Distilling Low-Rank Mamba for Edge Multispectral Fusion Object
    Detection", arXiv 2603.06920, 2026.

    Examples
    --------
    >>> import torch
    >>> model = LowRankSSM(32, 4, n_inputs=3, n_outputs=2, generator=0)
    >>> model(torch.ones(5, 100, 3)).shape, model.stable
    (torch.Size([5, 100, 2]), True)
    """

    step: Tensor
    shift: Tensor
    indices: Tensor

    def __init__(
        self,
        n_states: int,
        rank: int,
        parametrization: str = "shifted",
        *,
        n_inputs: int = 1,
        n_outputs: int = 1,
        n_columns: int = 0,
        step: float = 0.1,
        shift: float = 1.0,
        generator: torch.Generator | int | None = None,
    ) -> None:
        super().__init__()
        COUNT.require(n_states=n_states, n_inputs=n_inputs, n_outputs=n_outputs)
        Integer(1, n_states).check("rank", rank)
        Integer(0, n_states).check("n_columns", n_columns)
        POSITIVE.require(step=step, shift=shift)
        self.parametrization = Choice("shifted", "paper").check("parametrization", parametrization)
        source = cpu_generator(generator)
        U, V, B, C = (
            torch.randn(shape, generator=source)
            for shape in ((n_states, rank), (n_states, rank), (n_states, n_inputs), (n_outputs, n_states))
        )
        norm = _SHARE * shift if self._shifted else _NORM
        size = (norm / float(torch.linalg.matrix_norm(U @ V.mT, 2))) ** 0.5
        U, V = size * U, size * V
        self.U, self.V = nn.Parameter(U), nn.Parameter(V)
        self.B = nn.Parameter(held_inputs(U, V, B, step, shift) if self._shifted else step * B)
        self.C = nn.Parameter(C / n_states**0.5)
        self.columns = nn.Parameter(torch.zeros(n_states, n_columns)) if n_columns else None
        self.register_buffer("indices", torch.arange(n_columns))
        self.register_buffer("step", torch.tensor(float(step)))
        self.register_buffer("shift", torch.tensor(float(shift) if self._shifted else 0.0))

    @classmethod
    def from_dense(
        cls,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        rank: int,
        parametrization: str = "shifted",
        *,
        step: float,
        shift: float | None = None,
        n_columns: int = 0,
        on_unstable: str = "raise",
    ) -> Self:
        """Return the model that starts from a dense one, on its device and in its dtype.

        Parameters
        ----------
        A, B, C : Tensor
            Of the dense model in continuous time, see :class:`DenseSSM`.
        rank : int
            From 1 to the number of states; below it where there are columns.
        parametrization : {"shifted", "paper"}
            "paper" truncates the transition from sample to sample, "shifted" the matrix ``A + shift I``.
        step : float
            Time between two samples, positive.
        shift : float, optional
            By default one for which ``A + shift I`` is near a matrix of the rank: the best low rank and the best shift
            for it are taken in turn. They start from the mean of the diagonal of ``-A``, and are never further away.
        n_columns : int
            Columns to keep besides, which are chosen by :func:`low_rank_plus_columns`.
        on_unstable : {"raise", "clip", "keep"}
            What to do where the spectral radius is 1 or more. "clip" makes all states decay faster, until it is
            0.999, or less where half precision needs a larger step. "keep" leaves that to the user, who reads
            :attr:`stable`.

        Returns
        -------
        LowRankSSM

        Raises
        ------
        TypeError
            If a matrix is not a tensor of floating-point numbers.
        ValueError
            If an argument does not fit, or the model is not stable and `on_unstable` is "raise".

        Notes
        -----
        A few singular value decompositions, O(n_states^3) operations each. `B` and `C` are exactly those of the dense
        model. Where the truncated matrix has a lower rank, columns of both factors are zero, as their gradients are.

        Examples
        --------
        >>> import torch
        >>> from sparsetheory.gpu.representation import DenseSSM
        >>> A, B, C = -torch.diag(torch.arange(1.0, 9.0)), torch.ones(8, 1), torch.ones(1, 8)
        >>> dense, x = DenseSSM(A, B, C, 0.1), torch.ones(50, 1)
        >>> whole = LowRankSSM.from_dense(A, B, C, 8, step=0.1)
        >>> torch.allclose(whole(x), dense(x), atol=1e-5)
        True
        """
        check_system(A, B, C)
        POSITIVE.require(step=step)
        (MISSING | FINITE).require(shift=shift)
        Choice("raise", "clip", "keep").check("on_unstable", on_unstable)
        A, B, C = (matrix.detach() for matrix in (A, B, C))
        made = cls(
            len(A),
            rank,
            parametrization,
            n_inputs=B.shape[1],
            n_outputs=len(C),
            n_columns=n_columns,
            step=step,
            generator=0,
        ).to(A.device, A.dtype)
        with torch.no_grad():
            made.step.fill_(step)
            if made._shifted:
                made.shift.fill_(nearest_shift(A, rank) if shift is None else shift)
            made.B.copy_(dense_hold(A, B, made.step)[1])
            made.C.copy_(C)
            made._truncate(made.truncated_matrix(A))
            made._stabilise(on_unstable)
        return made

    @property
    def rank(self) -> int:
        """The rank of ``U V'``."""
        return self.U.shape[1]

    @property
    def stable(self) -> bool:
        """Whether states without inputs vanish: the spectral radius is below 1."""
        return self.spectral_radius() < 1

    def spectral_radius(self) -> float:
        """Return the largest absolute eigenvalue of the transition, infinity where that is not finite.

        O(n_states rank^2 + rank^3) operations.
        """
        return float(self.transition().spectral_radius())

    def transition(self) -> LowRankTransition:
        """Return the transition from sample to sample, with gradients."""
        left: Tensor = self.U
        right: Tensor = self.V
        if self.columns is not None:
            eye = torch.eye(len(left), dtype=left.dtype, device=left.device)
            left, right = torch.cat([left, self.columns], 1), torch.cat([right, eye[:, self.indices]], 1)
        if self._shifted:
            return lowrank_transition(left, right, self.step, self.shift)
        return LowRankTransition(torch.zeros_like(self.step), left, right)

    def forward(self, x: Tensor, initial: Tensor | None = None) -> Tensor:
        """Return outputs of shape (..., T, n_outputs) for inputs of shape (..., T, n_inputs).

        Parameters
        ----------
        x : Tensor of shape (..., T, n_inputs)
            Sequences; of length 0 they have no outputs.
        initial : Tensor of shape (..., n_states), optional
            State before the first sample; zero by default.
        """
        return self._scanned(x, initial, self.C)

    def run(self, x: Tensor, initial: Tensor | None = None) -> SSMRun:
        """Return outputs, states and the factors U and V; the last state continues the sequences."""
        states = self._scanned(x, initial, None)
        return SSMRun(states @ self.C.mT, states, (self.U, self.V))

    def truncated_matrix(self, A: Tensor) -> Tensor:
        """Return the matrix that ``U V'`` stands for, of a dense model that ``dh/dt = A h`` describes."""
        if not self._shifted:
            return dense_hold(A, A[:, :1], self.step)[0]
        return A + self.shift * torch.eye(len(A), dtype=A.dtype, device=A.device)

    def extra_repr(self) -> str:
        """Return what the representation shows."""
        sizes = f"n_states={len(self.U)}, rank={self.rank}, parametrization={self.parametrization!r}"
        return f"{sizes}, n_inputs={self.B.shape[1]}, n_outputs={len(self.C)}, n_columns={len(self.indices)}"

    @property
    def _shifted(self) -> bool:
        return self.parametrization == "shifted"

    def _scanned(self, x: Tensor, initial: Tensor | None, readout: Tensor | None) -> Tensor:
        """Return a linear function of all states, or the states: first the small recurrence, then the decay."""
        check_sequences(x, self.B.shape[1], initial, len(self.U))
        transition = self.transition()
        left, held = (part if readout is None else readout @ part for part in (transition.left, self.B))
        inner = x @ (self.B.mT @ transition.right)
        if initial is not None:
            begun = initial @ transition.right
            inner = with_first(inner, begun @ transition.core.mT)
        before = delayed(matrix_scan(inner, transition.core), x.shape[-2])
        if initial is not None:
            before = with_first(before, begun)
        found = before @ left.mT + x @ held.mT
        if not self._shifted:
            return found
        if initial is not None:
            found = with_first(found, transition.scale * (initial if readout is None else initial @ readout.mT))
        return scalar_scan(found, transition.scale)

    def _truncate(self, matrix: Tensor) -> None:
        """Set the factors, and the columns where there are any, to the nearest ones."""
        if self.columns is None:
            U, V = balanced_factors(matrix, self.rank)
        else:
            split = low_rank_plus_columns(matrix, self.rank, len(self.indices))
            U, V = split.outer, split.inner.mT
            self.columns.copy_(split.columns)
            self.indices.copy_(split.indices)
        self.U.copy_(U)
        self.V.copy_(V)

    def _stabilise(self, on_unstable: str) -> None:
        radius, target = self.spectral_radius(), _CLIPPED
        if radius < 1 or on_unstable == "keep":
            return
        if on_unstable == "raise" or math.isinf(radius):
            raise ValueError(
                f"the low-rank model must be stable, with a spectral radius below 1; got {radius:.6g} at rank "
                f"{self.rank}: take another rank, shift or parametrization, or on_unstable 'clip' or 'keep'"
            )
        while radius >= 1:
            if self._shifted:
                self.shift.add_(math.log(radius / target) / self.step)
            else:
                for part in (self.U, self.columns):
                    if part is not None:
                        part.mul_(target / radius)
            # In half precision so small a change may be lost in rounding.
            radius, target = self.spectral_radius(), target**2
