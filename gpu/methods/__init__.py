"""Every method of this floor in one row: where it comes from, what it needs, and how it is applied.

The rows drive the generic tests, the table in ``docs/methods.md`` and ``sparsetheory methods``.
"""

from sparsetheory.gpu.methods.row import Method
from sparsetheory.gpu.methods.table import METHODS, method_table

__all__ = ["METHODS", "Method", "method_table"]
