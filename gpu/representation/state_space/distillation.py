"""The loss by which a state space model of low rank imitates a dense one."""

from torch import Tensor

from sparsetheory.gpu.representation.state_space.runs import SSMRun

__all__ = ["balanced_factors", "structure_aware_loss"]


def balanced_factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return factors of the best approximation of a rank, with equal Gram matrices and fixed signs."""
    raise NotImplementedError


def structure_aware_loss(
    student: SSMRun, teacher: SSMRun, weights: tuple[float, float, float] = (0.5, 0.1, 1.5)
) -> Tensor:
    """Return how far a student is from its teacher in factors, states and outputs."""
    raise NotImplementedError
