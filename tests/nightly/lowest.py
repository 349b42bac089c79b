"""Print the oldest versions that pyproject.toml promises to work with, one requirement a line, for pip."""

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def lowest(requirements):
    """Turn every lower bound into the version itself."""
    return [requirement.replace(">=", "==") for requirement in requirements]


def main(extras):
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    print("\n".join(lowest(wanted)))


if __name__ == "__main__":
    main(sys.argv[1:])
