"""Methods that let a query see few keys."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["ATTENTION"]

ATTENTION: tuple[Method, ...] = ()
