"""Sparsity mechanisms in torch; needs the ``gpu`` extra, runs on any device.

Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
