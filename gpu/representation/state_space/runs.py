"""What a state space model did on some sequences."""

from dataclasses import dataclass

from torch import Tensor

from sparsetheory.constraints import Instance

__all__ = ["SSMRun", "check_sequences"]


@dataclass(frozen=True, eq=False)
class SSMRun:
    """Outputs and states of a state space model on sequences, and factors of its transition.

    Parameters
    ----------
    outputs : Tensor of shape (..., T, n_outputs)
    states : Tensor of shape (..., T, n_states)
        After each sample.
    factors : tuple of two Tensor of shape (n_states, rank), optional
        Of a student those that it learns; of a teacher what these should be, see :func:`teacher_factors`.
    """

    outputs: Tensor
    states: Tensor
    factors: tuple[Tensor, Tensor] | None = None


def check_sequences(x: Tensor, n_inputs: int, initial: Tensor | None, n_states: int) -> None:
    """Raise unless `x` holds sequences of shape (..., T, n_inputs), and `initial` states of shape (..., n_states)."""
    Instance(Tensor, "a tensor").check("x", x)
    if x.ndim < 2 or x.shape[-1] != n_inputs:
        raise ValueError(f"x must have shape (..., T, {n_inputs}); got {tuple(x.shape)}")
    if initial is None:
        return
    Instance(Tensor, "a tensor").check("initial", initial)
    if initial.ndim < 1 or initial.shape[-1] != n_states:
        raise ValueError(f"initial must have shape (..., {n_states}); got {tuple(initial.shape)}")
