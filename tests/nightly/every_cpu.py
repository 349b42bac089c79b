"""Run tests under every set of BLAS kernels that this processor can run, and with generic code generation.

    python tests/nightly/every_cpu.py [ARGUMENT]...

The arguments go to pytest; every variant has its own kernel cache. Exit status 1 if one variant fails.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Kernels of OpenBLAS, and the flags of /proc/cpuinfo that they need.
NEEDS = {
    "Prescott": {"sse2", "pni"},
    "Nehalem": {"sse4_2"},
    "Sandybridge": {"avx"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "SkylakeX": {"avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}


def processor_flags(cpuinfo):
    """Return the flags that a processor has, from the text of /proc/cpuinfo."""
    lines = [line for line in cpuinfo.splitlines() if line.startswith("flags")]
    return set(lines[0].split(":")[1].split()) if lines else set()


def variants(flags):
    """Return the environments to test under, by name."""
    found = {name: {"OPENBLAS_CORETYPE": name} for name, needed in NEEDS.items() if needed <= flags}
    # The oldest kernels and no special instructions in compiled code: the most different from a new machine.
    return found | {"generic": {"OPENBLAS_CORETYPE": "Prescott", "NUMBA_CPU_NAME": "generic"}}


def run(name, changes, arguments):
    """Run pytest in one environment and return its status."""
    cache = {"NUMBA_CACHE_DIR": str(ROOT / ".numba_cache" / f"cpu-{name}")}
    started = time.perf_counter()
    command = [sys.executable, "-m", "pytest", *arguments]
    status = subprocess.run(command, cwd=ROOT, env=os.environ | cache | changes, check=False).returncode
    print(f"{name}: status {status} after {time.perf_counter() - started:.0f} s", flush=True)
    return status


def main(arguments):
    """Test all variants, so that one failure does not hide another."""
    environments = variants(processor_flags(Path("/proc/cpuinfo").read_text()))
    statuses = {name: run(name, changes, arguments) for name, changes in environments.items()}
    failed = [name for name, status in statuses.items() if status]
    print(
        f"{len(statuses) - len(failed)} of {len(statuses)} pass" + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
