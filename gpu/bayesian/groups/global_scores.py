"""Which scores may spend one budget over all layers."""

import warnings

from sparsetheory.constraints import Choice

__all__ = ["check_global_scores"]


def check_global_scores(criterion: str, rule: str, budget: str) -> None:
    """Warn if one budget over all layers is spent by scores that mean different things in different layers.

    Prices by "savage_dickey" and gains by "gain" are in nats of one bound. Magnitudes and ratios have units, or none,
    that depend on the scale of the inputs of a layer: layers with large inputs need small weights.

    Parameters
    ----------
    criterion : str
        What is removed, see :func:`removal_score`.
    rule : {"grad", "gain"}
        What is added, see :func:`addition_score`.
    budget : {"tensor", "global"}

    Warns
    -----
    UserWarning
        If the budget is global and not both scores are in nats.

    Examples
    --------
    >>> check_global_scores("savage_dickey", "gain", "global")
    """
    Choice("tensor", "global").check("budget", budget)
    if budget == "global" and (criterion != "savage_dickey" or rule != "gain"):
        warnings.warn(
            "a global budget compares scores of all layers, which only nats allow: criterion must be 'savage_dickey' "
            f"and rule 'gain'; got {criterion!r} and {rule!r}",
            UserWarning,
            stacklevel=3,
        )
