"""Methods that keep few activations."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["ACTIVATIONS"]

ACTIVATIONS: tuple[Method, ...] = ()
