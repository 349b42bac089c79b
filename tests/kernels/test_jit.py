"""The compile-and-cache rule."""

import ast
import subprocess
import sys
from pathlib import Path

KERNELS = sorted((Path(__file__).resolve().parents[2] / "numba_kernels").glob("*.py"))


def test_no_kernel_calls_a_kernel_of_another_file():
    # numba notices an edit only in the file of the cached function.
    for file in KERNELS:
        modules = [n.module for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom)]
        inside = [m for m in modules if m.startswith("sparsetheory")]
        assert inside in ([], ["sparsetheory.numba_kernels.jit"]), file.name


def test_every_kernel_file_can_be_compiled_in_advance():
    for file in KERNELS:
        if "@kernel" in file.read_text() and file.name != "jit.py":
            functions = [n.name for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)]
            assert "warmup" in functions, file.name


def test_without_a_cache_folder_kernels_compile_with_one_warning():
    code = (
        "import warnings, numba\n"
        "plain = numba.njit\n"
        "def njit(*args, cache=False, **options):\n"
        "    if cache:\n"
        "        raise RuntimeError(\"cannot cache function 'f': no locator available for file 'f.py'\")\n"
        "    return plain(*args, **options)\n"
        "numba.njit = njit\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    from sparsetheory.numba_kernels import pair_bounds, rank_allocation\n"
        "print(len([w for w in caught if 'NUMBA_CACHE_DIR' in str(w.message)]))\n"
        "rank_allocation.warmup()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
