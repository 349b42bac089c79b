"""Whether the learning rates of the deviations let them follow an annealing."""

import math
import warnings
from collections.abc import Sequence

from torch import Tensor
from torch.optim import Adam, Adamax, NAdam, Optimizer, RAdam, RMSprop

__all__ = ["RhoRates"]

# Optimisers whose steps are about as long as the learning rate.
_NORMALISED = (Adam, Adamax, NAdam, RAdam, RMSprop)


class RhoRates:
    r"""Add up the learning rates of deviations during the annealing, and warn where they cannot be enough.

    The deviation of a weight that is off falls with the square root of the ratio r of the rates. Small deviations are
    about the exponential of their parameter, which so has to move by :math:`\tfrac12 \ln(1/r)`. Steps of Adam are at
    most about as long as the learning rate. Since gradients are noisy, twice that path is asked for.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        With another optimiser than Adam and its like nothing is counted.
    parameters : sequence of Tensor
        The parameters of deviations.
    ratio : float
        Ratio of the rates at the end.
    n_steps : int
        Steps of the annealing.
    """

    def __init__(self, optimizer: Optimizer, parameters: Sequence[Tensor], ratio: float, n_steps: int) -> None:
        self._optimizer = optimizer
        self._ids = {id(parameter) for parameter in parameters}
        self._needed = math.log(1 / ratio)
        self._n_steps = n_steps
        self._warned = not isinstance(optimizer, _NORMALISED)
        self.total = 0.0

    def count(self, step: int) -> None:
        """Count a step of the annealing, the first one being 1; warn at its begin and at its end."""
        if self._warned or step > self._n_steps:
            return
        rate = min(
            float(group["lr"])
            for group in self._optimizer.param_groups
            if any(id(parameter) in self._ids for parameter in group["params"])
        )
        self.total += rate
        ahead = self.total + rate * (self._n_steps - step)
        if step in (1, self._n_steps) and ahead < self._needed:
            self._warned = True
            warnings.warn(
                f"the learning rates of rho add up to {ahead:.3g} over the annealing, and should to {self._needed:.3g} "
                "at least: deviations cannot follow, and too many weights stay on; raise the rate or anneal_steps",
                RuntimeWarning,
                stacklevel=2,
            )
