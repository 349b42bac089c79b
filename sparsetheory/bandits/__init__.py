"""Misspecified sparse linear bandits: how many queries find a good action when the linear model is only nearly right.

Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
