"""Every block of code in the README runs, and prints what its comments say."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_code_runs(code, capsys):
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    for promise in re.findall(r"print\(.*\)  # (True|\[2 0 3 1 2 0 3 1\] 15\.0)", code):
        assert promise in printed
