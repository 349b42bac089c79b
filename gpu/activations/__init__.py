"""Activation sparsity: what of a vector of activations is kept, products that skip the rest, and what skipping costs.

Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
