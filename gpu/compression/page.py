"""The report of a compression as files: a page that loads nothing else, and numbers."""

import io
import json
from base64 import b64encode
from importlib.resources import files
from pathlib import Path

from sparsetheory import __version__
from sparsetheory.experiments.storage.files import replace_file
from sparsetheory.gpu.compression.report import CompressionReport

__all__ = ["write_page"]


def write_page(report: CompressionReport, folder: str | Path, *, title: str) -> Path:
    """Write ``report.html`` and ``report.json``.

    Parameters
    ----------
    report : CompressionReport
    folder : str or Path
    title : str
        Name of the model.

    Returns
    -------
    Path
        ``folder / "report.html"``. It has a figure where matplotlib is installed.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = files("sparsetheory.gpu.compression").joinpath("page.html.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        report=report, title=title, figure=_figure(report), version=__version__
    )
    folder = Path(folder)
    replace_file(folder / "report.json", json.dumps(report.to_dict(), indent=1))
    replace_file(folder / "report.html", page)
    return folder / "report.html"


def _figure(report: CompressionReport) -> str:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return ""
    figure = Figure(figsize=(8, max(2.5, 0.22 * len(report.layers) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    report.plot(figure.add_subplot())
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return "data:image/png;base64," + b64encode(content.getvalue()).decode("ascii")
