"""A linear state space model with a dense transition."""

from torch import nn

__all__ = ["DenseSSM"]


class DenseSSM(nn.Module):
    """A linear state space model with a dense transition."""
