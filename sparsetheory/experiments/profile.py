"""How much work a run may take."""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparsetheory.proofs_checks.claim import Sweep

__all__ = ["Profile"]


class Profile(StrEnum):
    """Quick runs fit a coffee break and decide with the same verdicts; full runs decide more sharply."""

    quick = "quick"
    full = "full"

    @property
    def examples(self) -> int:
        """How many instances hypothesis draws for a claim."""
        return 50 if self is Profile.quick else 500

    def values(self, sweep: "Sweep") -> tuple[float, ...]:
        """Return the values of the axis that are swept."""
        quick = self is Profile.quick and sweep.quick_values is not None
        return sweep.quick_values if quick else sweep.values  # type: ignore[return-value]

    def trials(self, sweep: "Sweep") -> int:
        """Return how often a sweep repeats each value."""
        return sweep.quick_trials if self is Profile.quick else sweep.trials
