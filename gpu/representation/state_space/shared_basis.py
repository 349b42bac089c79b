"""One basis for the transitions of several layers."""

__all__ = ["SharedFactors", "shared_factors"]


class SharedFactors:
    """Factors of several matrices, the first one shared."""


def shared_factors() -> SharedFactors:
    """Return the factors."""
    raise NotImplementedError
