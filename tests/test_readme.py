"""Every block of code in the README and the pages of docs/ runs, and prints what its comments say."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)
BLOCKS = _BLOCK.findall((ROOT / "README.md").read_text())
# The blocks of a page build on each other.
PAGES = {page.stem: "\n".join(_BLOCK.findall(page.read_text())) for page in sorted((ROOT / "docs").glob("*.md"))}
CODE = {**{str(number): block for number, block in enumerate(BLOCKS)}, **{k: v for k, v in PAGES.items() if v}}
_NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]\d+)?")


def _promises(code):
    """Return the words and the numbers that comments say are printed: after `print`, or in lines of their own."""
    comments = "\n".join(re.findall(r"(?:^|print\(.*)# (.*)", code, flags=re.MULTILINE))
    words = re.findall(r"^(True|\[[\d ]+\]|valid|invalid|holds)(?!\w)", comments, flags=re.MULTILINE)
    return words, [float(number) for number in _NUMBER.findall(comments)]


@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
def test_code_runs(code, capsys):
    words, numbers = _promises(code)
    assert words or numbers
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    for word in words:
        assert re.search(rf"(?:^|\s){re.escape(word)}(?:\s|$)", printed), word
    found = np.array([float(number) for number in _NUMBER.findall(printed)])
    for number in numbers:
        # Other processors round differently; what a reader sees stays true to its second digit.
        assert np.abs(found - number).min() <= 0.02 * abs(number), number
