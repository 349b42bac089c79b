"""The compile-and-cache rule."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sparsetheory.numba_kernels import jit

ROOT = Path(__file__).resolve().parents[2] / "numba_kernels"
KERNELS = sorted(file for file in ROOT.rglob("*.py") if file.name != "__init__.py")


def _is_kernel(node):
    # With and without arguments of the decorator.
    found = [getattr(d, "func", d) for d in getattr(node, "decorator_list", [])]
    return isinstance(node, ast.FunctionDef) and "kernel" in [d.id for d in found if isinstance(d, ast.Name)]


def test_kernels_share_nothing_but_penalties_and_inlined_pieces():
    # numba notices an edit only in the file of the cached function. The penalties of proximal.py and pieces that are
    # always inlined are shared all the same: the tests and make name the cache folder by a hash of all kernels, so an
    # edit cannot leave stale code there, and an installation replaces all files together.
    trees = {".".join(f.relative_to(ROOT).with_suffix("").parts): ast.parse(f.read_text()) for f in KERNELS}
    kernels = {name: {n.name for n in tree.body if _is_kernel(n)} for name, tree in trees.items()}
    assert sum(map(len, kernels.values())) >= 3
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sparsetheory."):
                other = node.module.removeprefix("sparsetheory.numba_kernels.")
                taken = {alias.name for alias in node.names}
                if other == "sparsetheory.typing":
                    continue
                if other == "penalties":
                    assert taken == {"tags"}, f"{name} imports {taken} of {other}"
                    continue
                assert other in trees, f"{name} imports {node.module}"
                shared = other == "penalties.proximal" or not taken & kernels[other]
                assert shared, f"{name} imports {taken} of {other}"


def test_every_kernel_file_can_be_compiled_in_advance():
    for file in KERNELS:
        if "@kernel" in file.read_text() and file.name != "jit.py":
            functions = [n.name for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)]
            assert "warmup" in functions, file.name


def test_without_a_cache_folder_kernels_compile_with_one_warning(tmp_path):
    # A plain file where each of numba's three cache folders would be created stops even a privileged user.
    for name in ("__pycache__", "blocked"):
        (tmp_path / name).touch()
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    from sparsetheory.numba_kernels.jit import kernel\n"
        "    @kernel\n"
        "    def one(x):\n"
        "        return x + 1\n"
        "    @kernel\n"
        "    def inverse(x):\n"
        "        return 1.0 / x\n"
        "found = [(w.category.__name__, w.filename) for w in caught if 'NUMBA_CACHE_DIR' in str(w.message)]\n"
        "assert found == [('RuntimeWarning', __file__)], found\n"
        "print(one(1), inverse(0.0))\n"
    )
    blocked = str(tmp_path / "blocked")
    environment = os.environ | {"NUMBA_CACHE_DIR": f"{blocked}/x", "XDG_CACHE_HOME": blocked, "HOME": blocked}
    done = subprocess.run([sys.executable, str(probe)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "inf"]


def test_machine_code_is_kept_where_a_folder_can_be_written(tmp_path):
    probe = tmp_path / "probe.py"
    probe.write_text(
        "from sparsetheory.numba_kernels.jit import kernel\n"
        "@kernel\n"
        "def one(x):\n"
        "    return x + 1\n"
        "one(1)\n"
        "print(sum(one.stats.cache_hits.values()))\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    runs = [
        subprocess.run([sys.executable, str(probe)], capture_output=True, text=True, env=environment, check=True)
        for _ in range(2)
    ]
    assert [done.stdout.strip() for done in runs] == ["0", "1"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return a program with two kernels, and the folder that keeps their machine code."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "probe.py").write_text(
        "import sys, warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    from sparsetheory.numba_kernels.jit import kernel\n"
        "    @kernel\n"
        "    def one(x):\n"
        "        return x + 1\n"
        "    @kernel\n"
        "    def two(x):\n"
        "        return one(x) + 1\n"
        "    results = one(1), two(1), two(1.5)\n"
        "print(results, sum(two.stats.cache_hits.values()), [str(w.message) for w in caught])\n"
    )
    _run(folder / "probe.py", folder / "cache")
    return folder / "probe.py", folder / "cache"


def _run(program, cache):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(2, 3, 3.5) "), done.stdout
    return done.stdout


@pytest.fixture
def probe(compiled, tmp_path):
    program, kept = compiled
    cache = shutil.copytree(kept, tmp_path / "cache")
    return cache, lambda: _run(program, cache)


def _flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "one bit": _flip_a_bit,
    "noise": lambda path: path.write_bytes(bytes(range(255, -1, -1)) * 4),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_machine_code_is_compiled_afresh_with_one_warning(probe, kind, damage):
    cache, run = probe
    files = sorted(cache.rglob(f"*.{kind}"))
    assert len(files) == {"nbi": 2, "nbc": 4}[kind]
    for path in files:
        DAMAGES[damage](path)
    assert run().count("are damaged; they are compiled and kept afresh") == 1
    assert " 2 []" in run()


def test_a_disk_that_fills_up_costs_a_warning(compiled, tmp_path):
    full = "from numba.core.caching import IndexDataCacheFile as File\n"
    full += "def write(self, path): raise OSError(28, 'No space left on device', path)\n"
    full += "File._open_for_write = write\n"
    program = tmp_path / "full.py"
    program.write_text(full + compiled[0].read_text())
    assert _run(program, tmp_path / "cache").count("cannot be kept in") == 1


def test_other_runtime_errors_are_not_taken_for_a_missing_folder(monkeypatch):
    def njit(**_):
        raise RuntimeError("something else")

    monkeypatch.setattr(jit.numba, "njit", njit)
    with pytest.raises(RuntimeError, match="something else"):
        jit.kernel(lambda x: x)
