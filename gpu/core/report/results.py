"""What a report of a sparse model holds."""

from dataclasses import dataclass
from typing import Any

from sparsetheory.gpu.core.flops import FlopCount
from sparsetheory.gpu.core.report.storage import Storage
from sparsetheory.gpu.core.report.taxonomy import Taxonomy
from sparsetheory.gpu.core.report.training import TrainingFlops

__all__ = ["LayerSparsity", "SparsityReport"]


@dataclass(frozen=True)
class LayerSparsity:
    """What is kept of one weight, and what it costs.

    Parameters
    ----------
    name : str
        Of the weight.
    shape : tuple of int
        Of the weight.
    n_weights, n_nonzero : int
        Its entries, and those that its mask keeps.
    n_effective : int
        Those that lie on a path from an input to an output.
    n_dead_rows, n_dead_columns : int
        Outputs without an input, and inputs that no output reads.
    uniform_density, er_density, erk_density : float
        What this weight would have if as many weights in all were kept by these rules.
    patterns : tuple of (int, int)
        N:M patterns along its inputs: for each m the smallest n, where it is below m.
    storage : Storage
        Bytes in each format.
    break_even : Storage
        Density below which each format saves bytes; of N:M for groups of 4.
    flops, sparse_flops : int or None
        Operations in the batch, dense and sparse; None without a batch.
    dense_seconds, sparse_seconds : float or None
        Measured time of its product in the batch, dense and in CSR; None without a batch or without such a kernel.
    """

    name: str
    shape: tuple[int, ...]
    n_weights: int
    n_nonzero: int
    n_effective: int
    n_dead_rows: int
    n_dead_columns: int
    uniform_density: float
    er_density: float
    erk_density: float
    patterns: tuple[tuple[int, int], ...]
    storage: Storage
    break_even: Storage
    flops: int | None = None
    sparse_flops: int | None = None
    dense_seconds: float | None = None
    sparse_seconds: float | None = None

    @property
    def density(self) -> float:
        """Share of its entries that is kept."""
        return self.n_nonzero / self.n_weights if self.n_weights else 1.0


@dataclass(frozen=True)
class SparsityReport:
    """What is kept of a model, where, and what it costs.

    Parameters
    ----------
    layers : tuple of LayerSparsity
        The masked weights, in the order of the model.
    n_parameters, n_nonzero : int
        All parameters, shared ones once, and those that are kept; what has no mask is kept.
    storage : Storage
        Bytes of the masked weights together, in each format.
    flops : FlopCount or None
        Operations, where a batch was given.
    training : tuple of TrainingFlops
        What training costs for one sample a step, in the common ways, where a batch was given.
    taxonomy : Taxonomy or None
        What kind of training the history shows, where it was given.
    """

    layers: tuple[LayerSparsity, ...]
    n_parameters: int
    n_nonzero: int
    storage: Storage
    flops: FlopCount | None = None
    training: tuple[TrainingFlops, ...] = ()
    taxonomy: Taxonomy | None = None

    @property
    def density(self) -> float:
        """Share of the entries of masked weights that is kept."""
        total = sum(layer.n_weights for layer in self.layers)
        return sum(layer.n_nonzero for layer in self.layers) / total if total else 1.0

    @property
    def overall_density(self) -> float:
        """Share of all parameters of the model that is kept."""
        return self.n_nonzero / self.n_parameters if self.n_parameters else 1.0

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one row for each masked weight; needs pandas."""
        from sparsetheory.gpu.core.report.tables import frame

        return frame(self)

    def to_markdown(self) -> str:
        """Return the report as a page of Markdown."""
        from sparsetheory.gpu.core.report.tables import markdown

        return markdown(self)
