"""Which weights exist and when they change: scores by which weights are dropped and grown.

Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
