"""Evidence about one solution, checkable from the raw data."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Certificate"]


@dataclass(frozen=True)
class Certificate:
    """What a solver guarantees about this one result.

    Subclasses add what a check needs and override :meth:`check`.

    Parameters
    ----------
    statement : str
        The guarantee in one line.
    bound : float
        The guaranteed value, in the units that the statement names.
    measured : float or None
        The true value where it was computed, else None.
    valid : bool
        Whether the guarantee held when it was last verified.
    """

    statement: str
    bound: float
    measured: float | None
    valid: bool

    def check(self, *data: Any) -> "Certificate":
        """Recompute the certificate from raw data by a code path that the solver does not use.

        Parameters
        ----------
        *data
            What the solver was fitted on.

        Returns
        -------
        Certificate
            The same statement with a fresh `measured` and `valid`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define check")
