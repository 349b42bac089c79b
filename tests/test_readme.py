"""Every block of code in the README runs, and prints what its comments say."""

import re
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
_NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]\d+)?")


def _promises(code):
    """Return the words and the numbers that comments say are printed: after `print`, or in lines of their own."""
    comments = "\n".join(re.findall(r"(?:^|print\(.*)# (.*)", code, flags=re.MULTILINE))
    words = re.findall(r"^(True|\[[\d ]+\]|valid|invalid|holds)\b", comments, flags=re.MULTILINE)
    return words, [float(number) for number in _NUMBER.findall(comments)]


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_code_runs(code, capsys):
    words, numbers = _promises(code)
    assert words or numbers
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    for word in words:
        assert re.search(rf"(?:^|\s){re.escape(word)}(?:\s|$)", printed), word
    found = np.array([float(number) for number in _NUMBER.findall(printed)])
    for number in numbers:
        # Other processors round differently; what a reader sees stays true to its second digit.
        assert np.abs(found - number).min() <= 0.02 * abs(number), number
