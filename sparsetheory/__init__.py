"""The theory of sparsity, running.

Subpackages are loaded on first use, so that ``import sparsetheory`` costs milliseconds and compiles nothing.
"""

import importlib
import os
from types import ModuleType

__version__ = "0.1.0"

# In a checkout the other floors lie beside this folder; installed, they lie inside it. Python started in the checkout
# finds this folder first, and must find the rest of the package too.
_beside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.exists(os.path.join(_beside, "numba_kernels", "jit.py")):
    __path__.append(_beside)

_SUBPACKAGES = (
    "bandits",
    "bayesian",
    "certificates",
    "coding",
    "experiments",
    "gpu",
    "lowrank",
    "numba_kernels",
    "penalties",
    "privacy",
    "proofs_checks",
    "regression",
)

__all__ = ["__version__", *_SUBPACKAGES]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"sparsetheory.{name}")
    raise AttributeError(f"module 'sparsetheory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
