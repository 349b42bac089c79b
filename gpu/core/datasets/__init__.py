"""Real data that ship in wheels or with Python, as NumPy arrays and texts; nothing is downloaded.

A loader whose package is absent raises an error that is the command to install it. Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
