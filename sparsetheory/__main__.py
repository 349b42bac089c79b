"""The command line for those who have no script on the path: ``python -m sparsetheory``."""

from sparsetheory.cli import app

if __name__ == "__main__":
    app(prog_name="python -m sparsetheory")
