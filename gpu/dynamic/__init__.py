"""Which weights exist and when they change: scores by which weights are dropped and grown.

The page ``docs/add_a_topology_method.md`` shows how they make a method. Names are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
