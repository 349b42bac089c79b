"""Types of arrays, by one name each. All floors import them, and they import nothing but NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AnyArray",
    "BoolArray",
    "ComplexArray",
    "Float64Array",
    "FloatArray",
    "IndexArray",
    "InexactArray",
    "Int64Array",
]

FloatArray = NDArray[np.floating]
"""Real numbers in single or double precision."""

Float64Array = NDArray[np.float64]
"""Real numbers in double precision."""

ComplexArray = NDArray[np.complexfloating]
"""Complex numbers in single or double precision."""

InexactArray = NDArray[np.inexact]
"""Real or complex numbers in any precision."""

IndexArray = NDArray[np.intp]
"""Positions in an array."""

Int64Array = NDArray[np.int64]
"""Integers of 64 bits, as compiled kernels count."""

BoolArray = NDArray[np.bool_]
"""True and False."""

AnyArray = NDArray[Any]
"""Numbers of any kind."""
