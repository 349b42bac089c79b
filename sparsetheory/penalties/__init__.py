"""The separable penalties of the package, with their operators: one room for regression, coding and certificates.

Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
