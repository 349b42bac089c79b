"""The weight of the divergence from the prior in a loss per sample, tempered and warmed up."""

from dataclasses import dataclass

from sparsetheory.constraints import COUNT, MISSING, POSITIVE

__all__ = ["KLWeight"]


@dataclass(frozen=True)
class KLWeight:
    """What the divergence is multiplied by in a loss that is a mean over samples, at each step of training.

    After s steps it is ``min(2 s / n_steps, 1) * temperature / n_samples``: from zero, linearly over the first half of
    training, to the weight with which ``n_samples / temperature`` times the loss is minus the tempered evidence bound
    in nats.

    Parameters
    ----------
    n_samples : int
        Training samples.
    temperature : float
        Weight of the prior; 1 is Bayes' rule, smaller ones count the data more.
    n_steps : int, optional
        Steps of training; without it there is no warm-up. Steps of epochs, rounded down, give a weight that changes
        from epoch to epoch.

    References
    ----------
    .. [1] J. Li, Z. Miao, Q. Qiu, R. Zhang. Training Bayesian neural networks with sparse subspace variational
       inference. ICLR 2024, arXiv 2402.11025.

    Examples
    --------
    >>> weight = KLWeight(1000, temperature=0.5, n_steps=200)
    >>> [weight(step) for step in (0, 50, 100, 150)]
    [0.0, 0.00025, 0.0005, 0.0005]
    """

    n_samples: int
    temperature: float = 1.0
    n_steps: int | None = None

    def __post_init__(self) -> None:
        COUNT.check("n_samples", self.n_samples)
        POSITIVE.check("temperature", self.temperature)
        (MISSING | COUNT).check("n_steps", self.n_steps)

    def __call__(self, step: int) -> float:
        """Return the weight after this number of optimiser steps."""
        part = 1.0 if self.n_steps is None else min(2 * max(0, step) / self.n_steps, 1.0)
        return part * self.temperature / self.n_samples
