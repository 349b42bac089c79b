"""Errors and warnings of bandits."""

__all__ = ["InconsistentOracleError", "VacuousBoundWarning"]


class InconsistentOracleError(ValueError):
    """No sparse linear function is within `eps` of the observed rewards.

    Parameters
    ----------
    message : str
    eps_lower : float
        Lower bound of the misspecification that the rewards prove.
    """

    def __init__(self, message: str, eps_lower: float) -> None:
        super().__init__(message)
        self.eps_lower = eps_lower

    def __reduce__(self) -> tuple[type["InconsistentOracleError"], tuple[str, float]]:
        return type(self), (str(self), self.eps_lower)


class VacuousBoundWarning(UserWarning):
    """The guaranteed gap is at least the range of the rewards: any action satisfies it."""
