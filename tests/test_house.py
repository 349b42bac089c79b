"""Rules of the house: imports point downwards, importing is cheap, everything is in the wheel."""

import ast
import importlib
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A folder may import itself and what stands before it.
FLOORS = {"numba_kernels": "numba_kernels", "sparsetheory": "", "gpu": "gpu", "proofs_checks": "proofs_checks"}
# The command line and the runner load claims when they run.
EXCEPTIONS = ("sparsetheory/cli.py", "sparsetheory/experiments/", "sparsetheory/__init__.py")
SOURCES = sorted(f for folder in FLOORS for f in (ROOT / folder).rglob("*.py"))


def _floor(module):
    parts = module.split(".")
    if parts[0] != "sparsetheory":
        return None
    second = parts[1] if len(parts) > 1 else ""
    return second if second in ("numba_kernels", "gpu", "proofs_checks") else "sparsetheory"


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_imports_point_downwards():
    order, wrong = list(FLOORS), []
    for relative in (file.relative_to(ROOT) for file in SOURCES):
        if not str(relative).startswith(EXCEPTIONS):
            floors = {module: _floor(module) for module in _imports(ast.parse((ROOT / relative).read_text()))}
            here = order.index(relative.parts[0])
            wrong += [f"{relative} imports {m}" for m, floor in floors.items() if floor and order.index(floor) > here]
    assert not wrong


def _fresh(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    code = "import sys, sparsetheory; print([m for m in ('torch','cvxpy','matplotlib','numba') if m in sys.modules])"
    assert _fresh(code) == "[]"


def test_low_rank_line_compiles_nothing_on_import():
    heavy = ("torch", "matplotlib", "numba", "sklearn")
    code = f"import sys, sparsetheory.lowrank; print([m for m in {heavy} if m in sys.modules])"
    assert _fresh(code) == "[]"


def test_import_is_quick():
    # The best of several: other processes of the test run slow single imports down.
    code = "import time, numpy; t = time.perf_counter(); import sparsetheory; print(time.perf_counter() - t)"
    assert min(float(_fresh(code)) for _ in range(3)) < 0.3


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", *FLOORS):
        (folder / name).symlink_to(ROOT / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "out", "."],
        check=True,
        cwd=folder,
    )
    (found,) = (folder / "out").glob("*.whl")
    return found


def test_every_source_file_is_in_the_wheel(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    for file in SOURCES:
        relative = file.relative_to(ROOT)
        inside = relative if relative.parts[0] == "sparsetheory" else Path("sparsetheory") / relative
        assert str(inside) in packed
    assert "sparsetheory/py.typed" in packed
    assert "sparsetheory/experiments/display/report.html.jinja" in packed
    tops = {name.split("/")[0] for name in packed if ".dist-info" not in name}
    assert tops == {"sparsetheory"}


def test_a_zipped_wheel_writes_a_report(wheel, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r})\n"
        "import importlib\n"
        "from pathlib import Path\n"
        "from sparsetheory.experiments import figures, job\n"
        "from sparsetheory.experiments.storage.code_state import code_hash\n"
        "from sparsetheory.proofs_checks.concatenated_svd.clusterings import bin_packing\n"
        "assert '.whl' in job.__file__ and len(code_hash()) == 12\n"
        "figures.find_spec = lambda name: None\n"
        "assert job.reproduce([bin_packing], out=Path('r'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 claims hold" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


def test_lazy_subpackages():
    code = "import sparsetheory; print(sparsetheory.lowrank.__name__, 'lowrank' in dir(sparsetheory))"
    assert _fresh(code) == "sparsetheory.lowrank True"


def test_unknown_attribute():
    import sparsetheory

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sparsetheory.nothing


@pytest.mark.parametrize("name", ["bayesian", "coding", "penalties", "regression"])
def test_every_public_name_of_a_lazy_package_exists(name):
    package = importlib.import_module(f"sparsetheory.{name}")
    # A module of the same name as a function would hide it, once it is imported.
    assert not {module.name for module in pkgutil.iter_modules(package.__path__)} & (set(package.__all__) - {"theory"})
    for public in package.__all__:
        assert getattr(package, public) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing
