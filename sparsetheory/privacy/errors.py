"""Errors and warnings of private data collection."""

from sparsetheory.privacy.device.messages import SchemaMismatchError

__all__ = [
    "BudgetExceededError",
    "ClippingWarning",
    "IllPosedReleaseWarning",
    "PrivacyParameterError",
    "SchemaMismatchError",
    "UselessReleaseWarning",
]


class PrivacyParameterError(ValueError):
    """Parameters that promise no useful privacy, such as a delta of one over the number of users."""


class BudgetExceededError(RuntimeError):
    """A user would spend more privacy than the budget holds; nothing was spent."""


class ClippingWarning(UserWarning):
    """Clips cut a large part of simulated data."""


class IllPosedReleaseWarning(UserWarning):
    """The released second moments are too noisy to be inverted."""


class UselessReleaseWarning(UserWarning):
    """The estimate is predicted to be no better than answering zero."""
