"""The theory of sparsity, running.

Subpackages are loaded on first use, so that ``import sparsetheory`` costs milliseconds and compiles nothing.
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_SUBPACKAGES = ("certificates", "experiments", "gpu", "lowrank", "numba_kernels", "proofs_checks")

__all__ = ["__version__", *_SUBPACKAGES]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"sparsetheory.{name}")
    raise AttributeError(f"module 'sparsetheory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
