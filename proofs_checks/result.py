"""The outcome of a claim's sweep, one row per trial."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sparsetheory.proofs_checks.claim import Claim
from sparsetheory.proofs_checks.measurement import Measurement
from sparsetheory.proofs_checks.verdicts import Judgement

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ClaimResult", "Row"]


@dataclass(frozen=True)
class Row:
    """One trial: where on the axis, which seed, and what came out."""

    value: float
    trial: int
    seed: tuple[int, ...]
    measurement: Measurement
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON types."""
        m = self.measurement
        return {
            "value": self.value,
            "trial": self.trial,
            "seed": list(self.seed),
            "measured": m.measured,
            "bound": m.bound,
            "scale": m.scale,
            "extras": dict(m.extras),
            "also": [list(pair) for pair in m.also],
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "Row":
        """Read a row that :meth:`to_dict` wrote; KeyError, TypeError or ValueError where it did not."""
        also = tuple((str(left), str(right)) for left, right in row["also"])
        scale = None if row["scale"] is None else _number(row["scale"])
        extras = {str(key): _number(value) for key, value in dict(row["extras"]).items()}
        measurement = Measurement(_number(row["measured"]), _number(row["bound"]), scale, extras, also)
        seed = tuple(int(_number(part)) for part in row["seed"])
        return cls(_number(row["value"]), int(_number(row["trial"])), seed, measurement, float(_number(row["seconds"])))


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {value!r}")
    return value


@dataclass(frozen=True)
class ClaimResult:
    """All trials of one claim, in the order of the axis whatever order they finished in."""

    claim: Claim
    rows: tuple[Row, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def verdict(self) -> Judgement:
        """The claim's verdict over all rows."""
        return self.claim.verdict.judge([r.value for r in self.rows], [r.measurement for r in self.rows])

    def to_frame(self) -> "pd.DataFrame":
        """Return one row per trial with columns axis, value, trial, seed, measured, bound and the extras."""
        import pandas as pd

        axis = self.claim.sweep.axis if self.claim.sweep else "instance"
        return pd.DataFrame(
            [
                {
                    "axis": axis,
                    "value": r.value,
                    "trial": r.trial,
                    "seed": r.seed,
                    "measured": r.measurement.measured,
                    "bound": r.measurement.bound,
                    **r.measurement.extras,
                }
                for r in self.rows
            ]
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw measured values, their bound and the extra curves against the axis; return the axes."""
        from sparsetheory.experiments.display.plots import plot_result

        return plot_result(self, ax)
