"""Sparse attention: which keys a query sees, how to compute with them only, and how much mass was dropped.

Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
