"""Evidence about one solution, checkable from the raw data."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Self

import numpy as np

__all__ = ["Certificate", "Status"]


class Status(StrEnum):
    """What a certificate says of the solution it belongs to."""

    VALID = "valid"
    INVALID = "invalid"
    NOT_APPLICABLE = "not applicable"

    @classmethod
    def of(cls, holds: object) -> "Status":
        """Return VALID for what is true and INVALID for what is not."""
        return cls.VALID if holds else cls.INVALID


@dataclass(frozen=True)
class Certificate:
    """What a solver guarantees about this one result.

    Subclasses add what a check needs and override :meth:`check`.

    Parameters
    ----------
    statement : str
        The guarantee in one line.
    bound : float
        What is guaranteed: the tolerance of the solver or a proved bound, never what happened to be reached.
    measured : float or None
        The true value where it was computed, else None. In the unit of `bound`.
    status : Status
        Whether the guarantee held when it was last verified, or that no theorem covers this fit.
    reason : str
        Why the certificate is not valid, where there is more to say than that `measured` exceeds `bound`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import OMP
    >>> X, y = np.eye(4)[:, :3], np.array([1.0, 2.0, 3.0, 0.5])
    >>> certificate = OMP(2, fit_intercept=False).fit(X, y).certificate_
    >>> print(certificate.status, certificate.check(X, y).status, certificate.check(X, -y).status)
    valid valid invalid
    """

    statement: str
    bound: float
    measured: float | None
    status: Status
    reason: str = field(kw_only=True, default="")

    TERMS: ClassVar[tuple[str, ...]] = ()
    """Fields of a subclass that its promise depends on; the statement gives their values."""

    def promise(self) -> str:
        """Return the guarantee in words, made of the fields."""
        raise NotImplementedError(f"{type(self).__name__} does not define promise")

    def stated(self) -> Self:
        """Return the certificate with the statement that its fields make: the promise, and the terms."""
        terms = ", ".join(f"{name}={_in_words(getattr(self, name))}" for name in self.TERMS)
        return replace(self, statement=f"{self.promise()} ({terms})" if terms else self.promise())

    def unless_misstated(self) -> Self:
        """Return the certificate, not valid where a term was changed: its statement promises something else then."""
        if self.status is Status.INVALID:
            return self
        if self.valid and not all(_may_be_promised(getattr(self, name)) for name in self.TERMS):
            return replace(self, status=Status.INVALID, reason="a term of the promise is negative, or not finite")
        if self.statement == self.stated().statement:
            return self
        return replace(self, status=Status.INVALID, reason="the statement is not that of the other fields")

    @property
    def valid(self) -> bool:
        """Whether the guarantee applies and held when it was last verified."""
        return self.status is Status.VALID

    def check(self, *fitted_on: Any, **options: Any) -> "Certificate":
        """Recompute the certificate from raw data by a code path that the solver does not use.

        Parameters
        ----------
        *fitted_on
            What `fit` took, in the forms that `fit` takes; what `fit` refuses is refused.
        **options
            `random_state`: seed of checks that draw, 0 by default; others do not use it.

        Returns
        -------
        Certificate
            The same statement with a fresh `measured` and `status`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define check")


def _may_be_promised(value: Any) -> bool:
    """Whether a term, where it consists of numbers, is finite and not negative."""
    if not isinstance(value, float | np.floating | np.ndarray):
        return True
    return bool(np.all(np.isfinite(value)) and np.all(np.asarray(value) >= 0))


def _in_words(value: Any) -> str:
    """Return a short text for the value of a term; of flags the number that are set."""
    if isinstance(value, np.ndarray) and value.dtype == np.bool_:
        return f"{np.count_nonzero(value)} of {value.size}"
    if isinstance(value, np.ndarray | list | tuple):
        return f"[{', '.join(_in_words(part) for part in value)}]"
    if isinstance(value, float | np.floating):
        return f"{value:.9g}"
    return str(value)
