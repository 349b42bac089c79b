"""Which share of the weights an update leaves as they were, in a given precision and within given tolerances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sparsetheory.constraints import NONNEGATIVE, Several
from sparsetheory.gpu.analysis.updates.states import State, TensorPair, tensor_pairs
from sparsetheory.gpu.core.masks import MaskSet

__all__ = ["TensorUpdate", "UpdateGrid", "UpdateReport", "update_grid", "update_mask", "update_sparsity"]

_TOLS = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


@dataclass(frozen=True)
class TensorUpdate:
    """How one tensor has changed.

    Parameters
    ----------
    name : str
    size : int
        Entries.
    n_changed : int
        Entries that changed by more than the tolerance.
    change, magnitude : float
        Sums of the sizes of all changes, and of the entries before. Infinite entries that stay as they are, as masks of
        attention hold, add nothing to either.
    """

    name: str
    size: int
    n_changed: int
    change: float
    magnitude: float

    @property
    def sparsity(self) -> float:
        """Share of the entries that did not change; 1 for no entries."""
        return _sparsity([self])


@dataclass(frozen=True)
class UpdateReport:
    """What :func:`update_sparsity` returns.

    Parameters
    ----------
    tensors : tuple of TensorUpdate
        One for each tensor.
    tol : float
        Largest change that counts as none.
    dtype : torch.dtype or None
        Precision to which both states were rounded; None where they were compared as stored.
    """

    tensors: tuple[TensorUpdate, ...]
    tol: float
    dtype: torch.dtype | None

    @property
    def total(self) -> float:
        """Share of all entries that did not change."""
        return _sparsity(self.tensors)

    @property
    def per_tensor(self) -> dict[str, float]:
        """Share of each tensor that did not change."""
        return {tensor.name: tensor.sparsity for tensor in self.tensors}

    @property
    def per_layer_weighted(self) -> dict[str, float]:
        """Share of each layer that did not change: all tensors of one module together, by their sizes."""
        layers: dict[str, list[TensorUpdate]] = {}
        for tensor in self.tensors:
            layers.setdefault(tensor.name.rpartition(".")[0], []).append(tensor)
        return {name: _sparsity(tensors) for name, tensors in layers.items()}

    @property
    def movement(self) -> float:
        """Mean size of a change relative to the mean size of an entry before; infinite where all were zero."""
        change, magnitude = (sum(getattr(t, name) for t in self.tensors) for name in ("change", "magnitude"))
        return change / magnitude if magnitude else (float("inf") if change else 0.0)

    @property
    def mean_change(self) -> float:
        """Mean size of the changes of all entries."""
        size = sum(tensor.size for tensor in self.tensors)
        return sum(tensor.change for tensor in self.tensors) / size if size else 0.0

    def to_frame(self) -> Any:
        """Return a DataFrame of pandas with one row for each tensor, indexed by name."""
        import pandas as pd

        rows = [
            {"name": t.name, "size": t.size, "n_changed": t.n_changed, "sparsity": t.sparsity, **_movement_of(t)}
            for t in self.tensors
        ]
        return pd.DataFrame(rows).set_index("name")


@dataclass(frozen=True)
class UpdateGrid:
    """What :func:`update_grid` returns.

    Parameters
    ----------
    reports : tuple of UpdateReport
        For each precision one report for each tolerance.
    """

    reports: tuple[UpdateReport, ...]

    def report(self, dtype: torch.dtype | None, tol: float) -> UpdateReport:
        """Return the report of one precision and tolerance; KeyError if there is none."""
        for report in self.reports:
            if report.dtype == dtype and report.tol == tol:
                return report
        raise KeyError(f"no report of dtype {dtype} and tol {tol:g}")

    def to_frame(self) -> Any:
        """Return a DataFrame of pandas with one row for each precision and tolerance."""
        import pandas as pd

        rows = [
            {
                "dtype": "as stored" if report.dtype is None else str(report.dtype).removeprefix("torch."),
                "tol": report.tol,
                "sparsity": report.total,
                "movement": report.movement,
                "mean_change": report.mean_change,
            }
            for report in self.reports
        ]
        return pd.DataFrame(rows)


def update_sparsity(a: State, b: State, tol: float = 1e-5, dtype: torch.dtype | None = None) -> UpdateReport:
    """Measure which share of the weights fine-tuning left as they were.

    The share depends on what counts as a change. In bfloat16 a weight changes once its movement reaches the next
    rounding boundary, see :func:`visible_threshold`: sparsity then compares movements with the sizes of weights. Report
    it on a grid, :func:`update_grid`, next to the movement.

    Parameters
    ----------
    a, b : torch.nn.Module or mapping of str to Tensor
        The model before and after, or their ``state_dict()``. Tied weights count once, integer buffers do not.
    tol : float
        Largest absolute change that counts as none, at least 0. An entry that is NaN in either state counts as changed.
    dtype : torch.dtype, optional
        Round both states to this precision before they are compared, such as ``torch.bfloat16`` for the checkpoints
        of a run whose master weights are float32. The difference itself is taken in float32 or float64.

    Returns
    -------
    UpdateReport

    Raises
    ------
    ValueError
        If names or shapes differ, which the message lists for both, dtypes differ and `dtype` is not given, nothing is
        left to compare, or `tol` is negative.

    References
    ----------
    .. [1] S. Mukherjee, L. Yuan, D. Hakkani-Tur, H. Peng, "Reinforcement Learning Finetunes Small Subnetworks in Large
       Language Models", NeurIPS 2025, arXiv:2505.11711. Its script prints, as the sparsity of layers, the mean over
       tensors of the share that did change; the shares here are of what did not, and weigh tensors by their sizes.

    Examples
    --------
    >>> import torch
    >>> before = {"weight": torch.tensor([1.0, 1.0, 1.0, 0.001])}
    >>> after = {"weight": torch.tensor([1.0, 1.001, 1.01, 0.002])}
    >>> update_sparsity(before, after).total, update_sparsity(before, after, dtype=torch.bfloat16).total
    (0.25, 0.5)
    """
    return _measure(a, b, (tol,), dtype)[0]


def update_grid(
    a: State,
    b: State,
    tols: Sequence[float] = _TOLS,
    dtypes: Sequence[torch.dtype | None] = (torch.float32, torch.bfloat16),
) -> UpdateGrid:
    """Measure the sparsity of an update at several tolerances and in several precisions.

    Parameters
    ----------
    a, b : torch.nn.Module or mapping of str to Tensor
        As for :func:`update_sparsity`.
    tols : sequence of float
        Tolerances.
    dtypes : sequence of torch.dtype or None
        Precisions; None compares the states as stored. One that is wider than what is stored changes nothing.

    Returns
    -------
    UpdateGrid
        With ``to_frame()`` for a table.

    Raises
    ------
    ValueError
        As :func:`update_sparsity` does, or if `tols` or `dtypes` is empty.

    Examples
    --------
    >>> import torch
    >>> before, after = {"w": torch.tensor([1.0, 0.001])}, {"w": torch.tensor([1.001, 0.002])}
    >>> [report.total for report in update_grid(before, after, tols=[0.0, 1e-2]).reports]
    [0.0, 1.0, 0.5, 1.0]
    """
    Several(NONNEGATIVE).check("tols", tols)
    if not len(tols) or not len(dtypes):
        raise ValueError(f"tols and dtypes must not be empty; got {len(tols)} and {len(dtypes)}")
    return UpdateGrid(tuple(report for dtype in dtypes for report in _measure(a, b, tols, dtype)))


def update_mask(a: State, b: State, tol: float = 1e-5, dtype: torch.dtype | None = None) -> MaskSet:
    """Return which entries an update changed: its subnetwork.

    Parameters
    ----------
    a, b : torch.nn.Module or mapping of str to Tensor
    tol : float
    dtype : torch.dtype, optional
        As for :func:`update_sparsity`.

    Returns
    -------
    MaskSet
        True where an entry changed by more than `tol`; on the device of `a`.

    Examples
    --------
    >>> import torch
    >>> update_mask({"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([1.0, 2.5])})["w"]
    tensor([False,  True])
    """
    NONNEGATIVE.check("tol", tol)
    return MaskSet({pair.name: _changed(*pair.values(dtype), tol) for pair in tensor_pairs(a, b, dtype)})


def _measure(a: State, b: State, tols: Sequence[float], dtype: torch.dtype | None) -> list[UpdateReport]:
    tolerances = [NONNEGATIVE.check("tol", tol) for tol in tols]
    rows = [_tensor_updates(pair, tolerances, dtype) for pair in tensor_pairs(a, b, dtype)]
    return [
        UpdateReport(tuple(found), tol, dtype) for tol, found in zip(tolerances, zip(*rows, strict=True), strict=True)
    ]


def _tensor_updates(pair: TensorPair, tols: Sequence[float], dtype: torch.dtype | None) -> list[TensorUpdate]:
    before, after = pair.values(dtype)
    # Sums of millions of numbers are kept in double precision.
    same = before == after
    change = float((after - before).abs().masked_fill_(same, 0.0).sum(dtype=torch.float64))
    magnitude = float(before.abs().masked_fill_(same & before.isinf(), 0.0).sum(dtype=torch.float64))
    counts = [int(_changed(before, after, tol).sum()) for tol in tols]
    return [TensorUpdate(pair.name, before.numel(), count, change, magnitude) for count in counts]


def _changed(before: torch.Tensor, after: torch.Tensor, tol: float) -> torch.Tensor:
    # Equal infinities, as masks of attention hold, have no difference.
    return ~((before == after) | ((after - before).abs() <= tol))


def _sparsity(tensors: Sequence[TensorUpdate]) -> float:
    size = sum(tensor.size for tensor in tensors)
    return 1.0 - sum(tensor.n_changed for tensor in tensors) / size if size else 1.0


def _movement_of(tensor: TensorUpdate) -> dict[str, float]:
    report = UpdateReport((tensor,), 0.0, None)
    return {"movement": report.movement, "mean_change": report.mean_change}
