"""A linear head on frozen features."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["LinearProbe", "linear_probe"]


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A linear classifier of features."""

    coef: Tensor
    intercept: Tensor
    losses: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Return logits of shape (n, n_classes)."""
        return features @ self.coef.T + self.intercept


def linear_probe(
    features: Tensor,
    y: Tensor,
    *,
    n_classes: int | None = None,
    method: str = "adam",
    n_steps: int = 150,
    lr: float | None = None,
    alpha: float = 0.0,
) -> LinearProbe:
    """Fit a linear head by multinomial logistic regression."""
    raise NotImplementedError
