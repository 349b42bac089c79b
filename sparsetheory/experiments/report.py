"""One HTML file that shows everything a run found and loads nothing else."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from latex2mathml import converter
from markupsafe import Markup

from sparsetheory.experiments.outcome import Outcome
from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.study import StudyOutcome
from sparsetheory.experiments.tables import format_cell
from sparsetheory.experiments.trial_log import versions

__all__ = ["write_report"]


def write_report(
    path: Path,
    outcomes: Sequence[Outcome],
    studies: Sequence[StudyOutcome] = (),
    *,
    profile: Profile = Profile.quick,
    seed: int = 0,
) -> Path:
    """Render outcomes as a self-contained page.

    Parameters
    ----------
    path : Path
        The file to write; its folder is made.
    outcomes : sequence of Outcome
        Claims in the order of the page.
    studies : sequence of StudyOutcome
        Shown below the claims.
    profile, seed
        Of the run, named on the page.

    Returns
    -------
    Path
        `path`.
    """
    page = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            outcomes=outcomes,
            studies=studies,
            failures=[outcome for outcome in outcomes if not outcome.judgement.holds],
            profile=profile.value,
            seed=seed,
            versions=versions(),
            written=datetime.now().astimezone(),
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"mathml": _mathml, "inline_png": _inline_png, "cell": format_cell, "duration": _duration}
    environment.tests["number"] = lambda cell: isinstance(cell, int | float)
    return environment


def _mathml(tex: str) -> Markup:
    # The converter escapes the text of its elements.
    return Markup(converter.convert(tex, display="block"))


def _inline_png(figure: Path) -> str:
    return "data:image/png;base64," + b64encode(figure.read_bytes()).decode("ascii")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
