"""Evidence about one solution, checkable from the raw data."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

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
