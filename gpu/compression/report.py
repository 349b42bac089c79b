"""What a compression did: layer by layer, and for the model as a whole."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from sparsetheory.gpu.weights.layerwise.certificate import LayerwiseCertificate

__all__ = ["CompressionReport", "FinishedLayer", "LayerReport", "ModelSize"]


@dataclass(frozen=True)
class LayerReport:
    """What was done to one layer.

    Parameters
    ----------
    name : str
    pattern, method : str
    shape : tuple of int
        Outputs and inputs of the layer as a matrix.
    n_nonzero : int
        Weights that are not zero.
    relative_error : float
        Squared error of the outputs relative to the outputs, on the calibration data.
    held_out_error : float or None
        The same on held-out data, where they were given.
    n_samples : int
        Calibration rows that the layer saw.
    delta : float
        Damping of the refit.
    n_swaps : float
        Swaps per row, on average.
    seconds : float
        Time for the layer, without that for collecting its inputs.
    """

    name: str
    pattern: str
    method: str
    shape: tuple[int, int]
    n_nonzero: int
    relative_error: float
    held_out_error: float | None
    n_samples: int
    delta: float
    n_swaps: float
    seconds: float

    @property
    def density(self) -> float:
        """Share of the weights that are not zero."""
        return self.n_nonzero / (self.shape[0] * self.shape[1])


@dataclass(frozen=True, eq=False)
class FinishedLayer:
    """A layer that has been compressed: what was done, and the certificate, which holds weight and mask."""

    report: LayerReport
    certificate: LayerwiseCertificate


@dataclass(frozen=True)
class ModelSize:
    """Parameters, bytes and floating-point operations of a model, dense and compressed.

    Parameters
    ----------
    n_parameters : int
        All parameters of the model; shared ones count once.
    n_nonzero : int
        Those that are not zero.
    dense_bytes : int
        As the model is stored in its dtype.
    sparse_bytes : int
        With every compressed layer in the smallest of its formats: compressed sparse rows, a bitmap, or N:M.
    dense_flops, sparse_flops : float
        For the first calibration batch; a multiplication and an addition count as two operations.
    """

    n_parameters: int
    n_nonzero: int
    dense_bytes: int
    sparse_bytes: int
    dense_flops: float
    sparse_flops: float


@dataclass(frozen=True)
class CompressionReport:
    """The outcome of :func:`sparsetheory.gpu.compress`.

    Parameters
    ----------
    model : torch.nn.Module
        The compressed model, with plain dense weights that hold zeros.
    layers : tuple of LayerReport
        In the order of the model.
    certificates : mapping of str to LayerwiseCertificate
        One for each layer; ``certificates[name].check(dense_weight, inputs)`` recomputes it.
    size : ModelSize
    quality : mapping of str to float
        How the outputs of the model changed, and what `evaluate` returned before and after.
    """

    model: nn.Module = field(repr=False)
    layers: tuple[LayerReport, ...] = field(repr=False)
    certificates: Mapping[str, LayerwiseCertificate] = field(repr=False)
    size: ModelSize
    quality: Mapping[str, float]

    def to_frame(self) -> Any:
        """Return a pandas data frame with one row per layer."""
        import pandas as pd

        return pd.DataFrame([asdict(layer) | {"density": layer.density} for layer in self.layers]).set_index("name")

    def to_dict(self) -> dict[str, Any]:
        """Return what can be written as JSON: layers, size and quality."""
        layers = [asdict(layer) | {"density": layer.density} for layer in self.layers]
        return {"layers": layers, "size": asdict(self.size), "quality": dict(self.quality)}

    def to_markdown(self) -> str:
        """Return a table of all layers, and the sizes below it."""
        lines = ["| layer | pattern | method | density | error | held-out error |", "|---|---|---|---|---|---|"]
        for layer in self.layers:
            fresh = "" if layer.held_out_error is None else f"{layer.held_out_error:.4f}"
            lines.append(
                f"| {layer.name} | {layer.pattern} | {layer.method} | {layer.density:.3f} "
                f"| {layer.relative_error:.4f} | {fresh} |"
            )
        return "\n".join([*lines, "", *(f"- {name}: {value}" for name, value in self.summary().items())])

    def summary(self) -> dict[str, str]:
        """Return sizes and quality as short texts."""
        size = self.size
        kept = _percent(size.n_nonzero, size.n_parameters)
        texts = {
            "parameters": f"{size.n_nonzero:,} of {size.n_parameters:,}{kept} are not zero",
            "bytes": f"{size.sparse_bytes:,} of {size.dense_bytes:,}{_percent(size.sparse_bytes, size.dense_bytes)}, "
            "if layers are stored in their smallest format; the saved weights are dense and hold zeros",
            "operations": f"{size.sparse_flops:.4g} of {size.dense_flops:.4g} FLOPs"
            f"{_percent(size.sparse_flops, size.dense_flops)} in the first calibration batch, if zeros are skipped",
        }
        return texts | {name: f"{value:.6g}" for name, value in self.quality.items()}

    def plot(self, ax: Any = None) -> Any:
        """Draw the relative error of every layer.

        Parameters
        ----------
        ax : matplotlib axes, optional
            A new figure by default.

        Returns
        -------
        matplotlib axes
        """
        from sparsetheory.gpu.compression.figure import draw_errors

        return draw_errors(self.layers, ax)


def _percent(part: float, whole: float) -> str:
    return f" ({part / whole:.1%})" if whole else ""
