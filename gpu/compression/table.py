"""The report of a compression as a table for the terminal."""

from rich.table import Table

from sparsetheory.gpu.compression.report import CompressionReport

__all__ = ["layer_table"]


def layer_table(report: CompressionReport) -> Table:
    """Return one row per layer: pattern, density, errors, and whether its certificate is valid."""
    table = Table()
    for heading in ("layer", "pattern", "method", "density", "error", "held out", "rows", "seconds", "certificate"):
        table.add_column(heading, justify="left" if heading in ("layer", "pattern", "method") else "right")
    for layer in report.layers:
        fresh = "" if layer.held_out_error is None else f"{layer.held_out_error:.4f}"
        numbers = f"{layer.density:.3f}", f"{layer.relative_error:.4f}", fresh, str(layer.n_samples)
        certificate = str(report.certificates[layer.name].status)
        table.add_row(layer.name, layer.pattern, layer.method, *numbers, f"{layer.seconds:.1f}", certificate)
    return table
