"""One HTML file that shows everything the runs in a folder found and loads nothing else."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from latex2mathml import converter
from markupsafe import Markup

from sparsetheory.experiments.display.tables import format_cell
from sparsetheory.experiments.storage.files import replace_file
from sparsetheory.experiments.storage.records import ClaimRecord, Origin, StudyRecord, figure_path
from sparsetheory.proofs_checks.verdicts import State

__all__ = ["write_report"]


def write_report(out: Path, records: Sequence[ClaimRecord | StudyRecord], origin: Origin, *, known: int) -> Path:
    """Render records as a self-contained page.

    Parameters
    ----------
    out : Path
        The folder of the run, with the figures.
    records : sequence of ClaimRecord or StudyRecord
        In the order of the page; studies are shown below the claims.
    origin : Origin
        The run that ends here.
    known : int
        How many records, the first ones, are of this run; the others are marked as earlier.

    Returns
    -------
    Path
        ``out / "report.html"``.
    """
    claims = [record for record in records if isinstance(record, ClaimRecord)]
    mine = [record for record in records[:known] if isinstance(record, ClaimRecord)]
    page = _template(out).render(
        claims=claims,
        studies=[record for record in records if isinstance(record, StudyRecord)],
        earlier={record.name for record in records[known:]},
        counts={state: sum(record.state is state for record in mine) for state in State},
        total=len(mine),
        origin=origin,
        written=datetime.now().astimezone(),
    )
    replace_file(out / "report.html", page)
    return out / "report.html"


def _template(out: Path) -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"mathml": _mathml, "cell": format_cell, "duration": _duration}
    environment.filters["figure_of"] = lambda name: _inline_png(figure_path(out, name))
    environment.tests["number"] = lambda cell: isinstance(cell, int | float)
    # Read as a resource, the template is found in a zipped wheel, too.
    return environment.from_string(
        files("sparsetheory.experiments.display").joinpath("report.html.jinja").read_text(encoding="utf-8")
    )


def _mathml(tex: str) -> Markup:
    # The converter escapes the text of its elements.
    return Markup(converter.convert(tex, display="block"))


def _inline_png(figure: Path) -> str:
    try:
        return "data:image/png;base64," + b64encode(figure.read_bytes()).decode("ascii")
    except FileNotFoundError:
        return ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
