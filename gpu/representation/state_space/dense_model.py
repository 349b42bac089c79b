"""A linear state space model with a dense transition: the teacher, and what models of low rank compare with."""

from typing import Any

from torch import Tensor, nn

from sparsetheory.constraints import POSITIVE
from sparsetheory.gpu.representation.state_space.exponentials import dense_hold
from sparsetheory.gpu.representation.state_space.runs import SSMRun, check_sequences
from sparsetheory.gpu.representation.state_space.scans import matrix_scan, with_first
from sparsetheory.gpu.representation.state_space.transitions import spectral_radius
from sparsetheory.gpu.solvers.arguments import finite_tensor, together

__all__ = ["DenseSSM", "check_system"]


class DenseSSM(nn.Module):
    r"""A linear state space model ``dh/dt = A h + B x``, ``y = C h``, whose inputs are held between samples.

    From sample to sample it is ``h_t = exp(step A) h_{t-1} + step phi_1(step A) B x_t``, ``y_t = C h_t``, see
    :func:`zero_order_hold`.

    Parameters
    ----------
    A : Tensor of shape (n_states, n_states)
        May be singular; it becomes a parameter, as `B` and `C` do.
    B : Tensor of shape (n_states, n_inputs)
    C : Tensor of shape (n_outputs, n_states)
    step : float
        Time between two samples, positive.

    Raises
    ------
    TypeError
        If a matrix is not a tensor of floating-point numbers.
    ValueError
        If it is not finite, shapes do not fit, or `step` is not positive.

    Notes
    -----
    A forward pass takes O(T n_states^2) operations a sequence.

    References
    ----------
    A. Gu, T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024, arXiv 2312.00752.

    Examples
    --------
    >>> import torch
    >>> integrator = DenseSSM(torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1), step=0.5)
    >>> integrator(torch.ones(3, 1)).flatten().tolist()
    [0.5, 1.0, 1.5]
    """

    step: Tensor

    def __init__(self, A: Tensor, B: Tensor, C: Tensor, step: float) -> None:
        super().__init__()
        check_system(A, B, C)
        self.A, self.B, self.C = (nn.Parameter(matrix.detach().clone()) for matrix in (A, B, C))
        self.register_buffer("step", A.new_tensor(POSITIVE.check("step", step)))

    def discretised(self) -> tuple[Tensor, Tensor]:
        """Return the transition from sample to sample, and what an input adds."""
        return dense_hold(self.A, self.B, self.step)

    def forward(self, x: Tensor, initial: Tensor | None = None) -> Tensor:
        """Return outputs of shape (..., T, n_outputs) for inputs of shape (..., T, n_inputs).

        Parameters
        ----------
        x : Tensor of shape (..., T, n_inputs)
            Sequences; of length 0 they have no outputs.
        initial : Tensor of shape (..., n_states), optional
            State before the first sample; zero by default.
        """
        return self.run(x, initial).outputs

    def run(self, x: Tensor, initial: Tensor | None = None, *, factors: tuple[Tensor, Tensor] | None = None) -> SSMRun:
        """Return outputs and states; `factors` are passed on, see :func:`teacher_factors`."""
        check_sequences(x, self.B.shape[1], initial, len(self.A))
        transition, held = self.discretised()
        added = x @ held.mT
        if initial is not None:
            added = with_first(added, initial @ transition.mT)
        states = matrix_scan(added, transition)
        return SSMRun(states @ self.C.mT, states, factors)

    def spectral_radius(self) -> float:
        """Return the largest absolute eigenvalue of the transition, or infinity; the model is stable below 1."""
        return float(spectral_radius(self.discretised()[0]))

    def extra_repr(self) -> str:
        """Return what the representation shows."""
        return f"n_states={len(self.A)}, n_inputs={self.B.shape[1]}, n_outputs={len(self.C)}, step={float(self.step):g}"


def check_system(A: Any, B: Any, C: Any) -> None:
    """Raise unless three matrices make a state space model."""
    for name, matrix in (("A", A), ("B", B), ("C", C)):
        if finite_tensor(name, matrix).ndim != 2 or not matrix.numel():
            raise ValueError(f"{name} must be a matrix with rows and columns; got shape {tuple(matrix.shape)}")
    together(A=A, B=B, C=C)
    n = len(A)
    if A.shape[1] != n or len(B) != n or C.shape[1] != n:
        shapes = ", ".join(str(tuple(matrix.shape)) for matrix in (A, B, C))
        raise ValueError(f"A must be n x n, B n x n_inputs and C n_outputs x n; got {shapes}")
