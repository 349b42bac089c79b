"""Everything is in the wheel, and a zipped wheel works."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("numba_kernels", "sparsetheory", "gpu", "proofs_checks")
SOURCES = sorted(file for folder in FLOORS for kind in ("*.py", "*.pyi") for file in (ROOT / folder).rglob(kind))


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
        "from sparsetheory.experiments import job\n"
        "from sparsetheory.experiments.display import figures\n"
        "from sparsetheory.experiments.storage.code_state import code_hash\n"
        "from sparsetheory.proofs_checks.concatenated_svd.clusterings import bin_packing\n"
        "assert '.whl' in job.__file__ and len(code_hash()) == 12\n"
        "figures.find_spec = lambda name: None\n"
        "assert job.reproduce([bin_packing], out=Path('r'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 claims hold" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
