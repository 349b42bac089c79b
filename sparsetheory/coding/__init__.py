"""Sparse coding: the penalty family of the package, coders with certificates, dictionaries and receptive fields.

Names are loaded on first use, so that a penalty does not pay for the imports of a dictionary learner.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
