"""Imports point downwards, lines of research do not import each other, and importing is cheap."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A floor may import itself and what stands before it.
FLOORS = ("numba_kernels", "sparsetheory", "gpu", "proofs_checks")
# The command line and the runner load claims when they run.
EXCEPTIONS = ("sparsetheory/cli.py", "sparsetheory/experiments/", "sparsetheory/__init__.py")
# Types of arrays have no floor: they import nothing but NumPy.
GROUND = "sparsetheory.typing"
LINES = ("bandits", "bayesian", "coding", "lowrank", "privacy", "regression")
# What all lines share. A module that joins two lines on purpose is a bridge, and its first line says so.
SHARED = (
    "arrays",
    "blas_threads",
    "certificates",
    "constraints",
    "numba_kernels",
    "penalties",
    "progress",
    "ranges",
    "typing",
)
# Modules that are public under their own names.
PARTS = {"activations", "analysis", "attention", "bayesian", "core", "datasets", "dimension", "dynamic"}
PARTS |= {"kernels", "models", "representation", "search", "solvers", "theory", "weights"}
SOURCES = sorted(file for folder in FLOORS for file in (ROOT / folder).rglob("*.py"))


def _floor(module):
    parts = module.split(".")
    if parts[0] != "sparsetheory" or module == GROUND:
        return None
    second = parts[1] if len(parts) > 1 else ""
    return second if second in ("numba_kernels", "gpu", "proofs_checks") else "sparsetheory"


def _imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_imports_point_downwards():
    wrong = []
    for relative in (file.relative_to(ROOT) for file in SOURCES):
        if not str(relative).startswith(EXCEPTIONS):
            floors = {module: _floor(module) for module in _imports(ROOT / relative)}
            here = FLOORS.index(relative.parts[0])
            wrong += [f"{relative} imports {m}" for m, floor in floors.items() if floor and FLOORS.index(floor) > here]
    assert not wrong


def _is_bridge(file):
    return "bridge" in file.read_text().partition("\n")[0].lower()


def test_lines_of_research_do_not_import_each_other():
    wrong = []
    for line in (*LINES, "penalties"):
        allowed = (line, *(name for name in SHARED if line != "penalties" or name != line))
        for file in sorted((ROOT / "sparsetheory" / line).rglob("*.py")):
            others = {m for m in _imports(file) if m.startswith("sparsetheory.") and m.split(".")[1] not in allowed}
            if others and not _is_bridge(file):
                wrong.append(f"{file.relative_to(ROOT)} imports {', '.join(sorted(others))}")
    assert not wrong


def test_types_of_arrays_import_nothing_of_the_package():
    assert not [module for module in _imports(ROOT / "sparsetheory" / "typing.py") if module.startswith("sparsetheory")]


def _fresh(code):
    # Without -P, files of the current directory would hide modules of the library.
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    code = "import sys, sparsetheory; print([m for m in ('torch','cvxpy','matplotlib','numba') if m in sys.modules])"
    assert _fresh(code) == "[]"


def test_torch_floor_costs_what_torch_costs():
    heavy = ("numba", "sklearn", "scipy", "pandas", "matplotlib", "rich", "transformers")
    added = f"print([m for m in {heavy} if m in sys.modules and m not in before])"
    # Names are loaded on first use: what the core as a whole needs is asked for, too.
    core = "import sparsetheory.gpu.core as core; [getattr(core, name) for name in core.__all__]"
    for code in ("import sparsetheory.gpu", core):
        assert _fresh(f"import sys, torch; before = set(sys.modules); {code}; {added}") == "[]"


def test_low_rank_line_compiles_nothing_on_import():
    heavy = ("torch", "matplotlib", "numba", "sklearn")
    code = f"import sys, sparsetheory.lowrank; print([m for m in {heavy} if m in sys.modules])"
    assert _fresh(code) == "[]"


def test_import_is_quick():
    # The best of several: other processes of the test run slow single imports down.
    code = "import time, numpy; t = time.perf_counter(); import sparsetheory; print(time.perf_counter() - t)"
    assert min(float(_fresh(code)) for _ in range(3)) < 0.3


def test_lazy_subpackages():
    code = "import sparsetheory; print(sparsetheory.lowrank.__name__, 'lowrank' in dir(sparsetheory))"
    assert _fresh(code) == "sparsetheory.lowrank True"


def test_unknown_attribute():
    import sparsetheory

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sparsetheory.nothing


@pytest.mark.parametrize(
    "name",
    [
        "bayesian",
        "coding",
        "gpu",
        "gpu.activations",
        "gpu.analysis",
        "gpu.attention",
        "gpu.bayesian",
        "gpu.core",
        "gpu.dimension",
        "gpu.dynamic",
        "gpu.kernels",
        "gpu.representation",
        "gpu.search",
        "gpu.weights",
        "penalties",
        "regression",
    ],
)
def test_every_public_name_of_a_lazy_package_exists(name):
    package = importlib.import_module(f"sparsetheory.{name}")
    # A module of the same name as a function would hide it, once it is imported.
    assert not {module.name for module in pkgutil.iter_modules(package.__path__)} & (set(package.__all__) - PARTS)
    for public in package.__all__:
        assert getattr(package, public) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing
