"""The clipped loss of policies."""

from torch import Tensor

__all__ = ["clipped_policy_loss"]


def clipped_policy_loss(
    logp: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip: tuple[float, float] = (0.2, 0.2),
    dual: float | None = 10.0,
) -> Tensor:
    """Return the clipped loss."""
    raise NotImplementedError
