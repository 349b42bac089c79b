"""A linear state space model with a transition of low rank."""

from torch import nn

__all__ = ["LowRankSSM"]


class LowRankSSM(nn.Module):
    """A linear state space model with a transition of low rank."""
