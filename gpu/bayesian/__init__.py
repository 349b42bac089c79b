"""Bayesian networks: weights with a mean and a deviation, on sparse subspaces and under structured sparse priors.

Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
