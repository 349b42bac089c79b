"""The memory of an optimiser for the entries of a parameter: moments and the like."""

from torch import Tensor
from torch.optim import Optimizer

__all__ = ["MAGNITUDES", "clear_state", "start_state", "state_tensors"]

# Running means of squares, other magnitudes and lengths of steps, by the names that torch's optimisers give them.
MAGNITUDES = {"acc_delta", "exp_avg_sq", "exp_inf", "max_exp_avg_sq", "square_avg", "step_size", "sum"}


def state_tensors(optimizer: Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """Return the tensors that an optimiser keeps for each entry of a parameter.

    They are looked up each time, as loading a state replaces them.
    """
    if parameter not in optimizer.state or parameter.ndim == 0:
        return {}
    state = optimizer.state[parameter]
    return {key: kept for key, kept in state.items() if isinstance(kept, Tensor) and kept.shape == parameter.shape}


def clear_state(optimizer: Optimizer, parameter: Tensor, where: Tensor) -> None:
    """Set what an optimiser keeps for some entries of a parameter to zero, in place."""
    for kept in state_tensors(optimizer, parameter).values():
        kept.masked_fill_(where, 0)


def start_state(optimizer: Optimizer, parameter: Tensor, new: Tensor, survivors: Tensor, rule: str) -> None:
    """Give new entries of a parameter a state to start from, in place.

    Everything starts at zero. With the rule "mean", running means of squares and other magnitudes start at the mean of
    the survivors.
    """
    clear_state(optimizer, parameter, new)
    if rule == "mean" and bool(survivors.any()):
        for key, kept in state_tensors(optimizer, parameter).items():
            if key in MAGNITUDES:
                kept.masked_fill_(new, kept[survivors].mean())
