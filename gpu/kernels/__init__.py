"""Kernels that turn the sparsity of a trained network into speed on a CPU.

Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
