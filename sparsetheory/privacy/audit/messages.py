"""Messages that a randomizer returns, and statistics of them, checked and brought to arrays."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["draw", "statistic_values"]


def draw(
    samplers: Sequence[tuple[str, Callable[[int, np.random.Generator], Any]]],
    n_samples: int,
    rng: np.random.Generator,
) -> dict[int, AnyArray]:
    """Draw messages from several samplers, given with the names that errors call them: rows by number of the sampler.

    Raises
    ------
    ValueError
        If messages are not finite numbers, `n_samples` of them, all of one length.
    """
    drawn = {number: _rows(name, sampler(n_samples, rng), n_samples) for number, (name, sampler) in enumerate(samplers)}
    for number, rows in drawn.items():
        if rows.shape != drawn[0].shape:
            name, lengths = samplers[number][0], (rows.shape[1], drawn[0].shape[1])
            raise ValueError(f"{name} must return messages as long as the first; got lengths {lengths}")
    return drawn


def _rows(name: str, drawn: Any, n_samples: int) -> AnyArray:
    """Return drawn messages as rows of numbers, `n_samples` x length.

    Raises
    ------
    ValueError
        If they are not `n_samples` messages of bits, integers or real numbers, all finite.
    """
    rows = np.asarray(drawn)
    if rows.dtype.kind not in "biuf" or rows.ndim == 0 or len(rows) != n_samples:
        found = f"{len(rows)} of dtype {rows.dtype}" if rows.ndim else repr(drawn)
        raise ValueError(f"{name} must return n = {n_samples} messages of bits, integers or real numbers; got {found}")
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise ValueError(f"{name} must return finite messages; got NaN or infinity")
    rows = rows.reshape(n_samples, -1)
    if rows.shape[1] == 0:
        raise ValueError(f"{name} must return messages of at least one entry; got none")
    return rows


def statistic_values(values: Any, n_samples: int) -> Float64Array:
    """Return one real number per message.

    Raises
    ------
    ValueError
        If a statistic returned something else.
    """
    found = np.asarray(values)
    if found.shape != (n_samples,) or found.dtype.kind not in "biuf" or np.isnan(found).any():
        raise ValueError(f"statistic must return one number per message, {n_samples}; got shape {found.shape}")
    return found.astype(np.float64)
