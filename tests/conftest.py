"""Profiles of the property tests, and one kernel cache per state of the kernels."""

import gc
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent


def _kernel_cache() -> str:
    files = sorted((ROOT / "numba_kernels").rglob("*.py"), key=str)
    digest = hashlib.sha1(b"".join(f.read_bytes() for f in files), usedforsecurity=False).hexdigest()[:12]
    return str(ROOT / ".numba_cache" / digest)


# Before anything imports numba: a cache that outlives an edit of a kernel would test old code.
os.environ.setdefault("NUMBA_CACHE_DIR", _kernel_cache())
# Worker processes share the cores already.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch

# A commit is judged on the same examples every time; at night claims get many, and all other tests fresh ones.
settings.register_profile(
    "ci", max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", parent=settings.get_profile("ci"), max_examples=10_000)
settings.register_profile("search", parent=settings.get_profile("ci"), max_examples=500, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_finish(session):
    # Thousands of tests live to the end: the collector of garbage need not look through them again and again.
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng():
    return np.random.default_rng(20260126)
