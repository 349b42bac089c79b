"""Structured Bayesian recovery: Kronecker sparse Bayesian learning, and Turbo-VBI with Markov supports.

Names are loaded on first use, so that one estimator does not pay for the imports of the others.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
