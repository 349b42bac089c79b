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


def check_sequences(x: Tensor, n_inputs: int) -> None:
    """Raise unless `x` holds sequences of shape (..., T, n_inputs)."""
    Instance(Tensor, "a tensor").check("x", x)
    if x.ndim < 2 or x.shape[-1] != n_inputs:
        raise ValueError(f"x must have shape (..., T, {n_inputs}); got {tuple(x.shape)}")
