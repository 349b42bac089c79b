"""Weight sparsity: layer-wise pruning as sparse regression, and the published methods beside it.

Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
