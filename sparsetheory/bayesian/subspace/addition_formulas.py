"""The rules of addition by name, for arrays and tensors alike."""

from typing import Any

from sparsetheory.bayesian.subspace.elementwise import Elementwise, Values
from sparsetheory.constraints import MISSING, POSITIVE, Choice

__all__ = ["addition_gain", "check_addition"]


def addition_gain(f: Elementwise, grad: Values, curvature: Values, prior_std: float) -> Values:
    """Return the gain of the evidence bound in nats at the best law of each new weight."""
    root = prior_std * f.sqrt(curvature)
    signal = prior_std * grad / f.sqrt(1 + root * root)
    return (signal * signal - f.log1p(root * root)) / 2


def check_addition(rule: Any, curvature: Any, prior_std: Any) -> None:
    """Raise ValueError for a rule that is not known, or one whose arguments are missing."""
    Choice("grad", "gain").check("rule", rule)
    (POSITIVE if rule == "gain" else MISSING | POSITIVE).check("prior_std", prior_std)
    if rule == "gain" and curvature is None:
        raise ValueError("curvature must be given for rule 'gain'; got None")
