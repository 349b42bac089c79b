"""What happened in every batch of dictionary learning."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sparsetheory.typing import BoolArray, Float64Array, Int64Array

__all__ = ["DictionaryHistory"]


@dataclass(frozen=True, eq=False)
class DictionaryHistory:
    """One entry per batch; values are those before the dictionary changes.

    Attributes
    ----------
    objective : ndarray of float
        Mean over the signals of half the squared residual plus the penalty.
    active : ndarray of float
        Mean number of nonzeros of a code.
    mse : ndarray of float
        Mean squared residual per entry of a signal.
    alpha : ndarray of float
        Strength of the penalty.
    reseeded : ndarray of int
        Atoms replaced after the batch.
    unconverged : ndarray of int
        Codes whose solver did not converge.
    skipped : ndarray of bool
        Whether the batch changed nothing, as codes of ``stop_rule="published"`` did not converge.

    Examples
    --------
    >>> history = DictionaryHistory.empty().appended(
    ...     objective=2.0, active=3.5, mse=0.1, alpha=0.2, reseeded=0, unconverged=0, skipped=False
    ... )
    >>> len(history), history.active
    (1, array([3.5]))
    """

    objective: Float64Array
    active: Float64Array
    mse: Float64Array
    alpha: Float64Array
    reseeded: Int64Array
    unconverged: Int64Array
    skipped: BoolArray

    def __len__(self) -> int:
        return self.objective.size

    @classmethod
    def empty(cls) -> Self:
        """Return the history of no batches."""
        floats, integers = np.empty(0), np.empty(0, np.int64)
        return cls(floats, floats, floats, floats, integers, integers, np.empty(0, np.bool_))

    def appended(self, **record: float) -> Self:
        """Return the history with one more batch, given by the names of the attributes."""
        return type(self)(**{name: np.append(old, old.dtype.type(record[name])) for name, old in self.arrays().items()})

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
