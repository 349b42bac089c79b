"""All methods, and their table in Markdown."""

from sparsetheory.gpu.methods.activations import ACTIVATIONS
from sparsetheory.gpu.methods.attention import ATTENTION
from sparsetheory.gpu.methods.bayesian import BAYESIAN
from sparsetheory.gpu.methods.dimension import DIMENSION
from sparsetheory.gpu.methods.dynamic import DYNAMIC
from sparsetheory.gpu.methods.factors import FACTORS
from sparsetheory.gpu.methods.layerwise import LAYERWISE
from sparsetheory.gpu.methods.one_shot import ONE_SHOT
from sparsetheory.gpu.methods.representation import REPRESENTATION
from sparsetheory.gpu.methods.row import Method
from sparsetheory.gpu.methods.search import SEARCH
from sparsetheory.gpu.methods.training import TRAINING

__all__ = ["METHODS", "method_table"]

METHODS: tuple[Method, ...] = (
    *LAYERWISE,
    *TRAINING,
    *ONE_SHOT,
    *FACTORS,
    *ACTIVATIONS,
    *ATTENTION,
    *DYNAMIC,
    *SEARCH,
    *DIMENSION,
    *REPRESENTATION,
    *BAYESIAN,
)


def method_table() -> str:
    """Return the table of all methods as Markdown."""
    lines = [
        "| method | what it does | source | follows | needs | patterns | classical problem |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in METHODS:
        needs = ", ".join(sorted(row.needs)) or "nothing"
        patterns = ", ".join(kind.__name__ for kind in row.patterns) or "none"
        lines.append(
            f"| `{row.name}` | {row.title} | {row.source} | {row.provenance} | {needs} | {patterns} | {row.classical} |"
        )
    return "\n".join(lines)
