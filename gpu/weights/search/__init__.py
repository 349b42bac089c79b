"""Search for the mask of a layer: pruning with reconstruction as best-subset regression on a Gram matrix.

Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
