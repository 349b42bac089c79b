"""Sparse regression under local differential privacy: every user randomises at home, and nobody trusts the server.

Names are loaded on first use, so that a device pays for its client alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
