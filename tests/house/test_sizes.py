"""Files, functions and folders that a reader can hold in mind."""

import ast
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("numba_kernels", "sparsetheory", "gpu", "proofs_checks")
FILES = {
    file.relative_to(ROOT): file.read_text() for folder in FLOORS for file in sorted((ROOT / folder).rglob("*.py"))
}


def _length(function):
    """Lines of a function without its docstring and its signature."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(getattr(body[0], "value", None), ast.Constant):
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def _functions():
    for path, text in FILES.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                yield f"{path}:{node.name}", _length(node)


def test_folders_hold_at_most_twenty_files_and_most_at_most_fifteen():
    folders = {}
    for path in FILES:
        folders.setdefault(path.parent, []).append(path)
    counts = {str(folder): len(files) for folder, files in folders.items()}
    assert not {folder: count for folder, count in counts.items() if count > 20}
    assert np.mean([count <= 15 for count in counts.values()]) > 0.8


def test_files_are_short():
    lines = {str(path): text.count("\n") for path, text in FILES.items()}
    assert not {path: count for path, count in lines.items() if count > 500}
    assert np.median(list(lines.values())) <= 150
    assert np.quantile(list(lines.values()), 0.95) <= 320


def test_functions_are_short():
    lengths = dict(_functions())
    assert np.median(list(lengths.values())) <= 10
    assert np.quantile(list(lengths.values()), 0.95) <= 50
    assert not {name: length for name, length in lengths.items() if length > 130}
