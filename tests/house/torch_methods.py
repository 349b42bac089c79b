"""The table of all methods of the torch floor in docs/methods.md; `make docs` writes it anew."""

from pathlib import Path

from sparsetheory.gpu.methods import method_table

TARGET = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
_HEAD = """# Methods of the torch floor

One row for each method: where it comes from, what this implementation follows, what it needs, and which patterns it
can produce. The table is made from the code by `make docs`, `sparsetheory methods` prints it, and a test compares it.
Behind the dot stands the name that `layerwise_prune`, `compress` and `sparsetheory compress --method` take, of methods
whose classical problem is a regression on a Gram matrix. Methods without patterns make layers of their own.

"""


def page() -> str:
    """Return the page."""
    return f"{_HEAD}{method_table()}\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
