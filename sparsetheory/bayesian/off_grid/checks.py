"""Checks of what off-grid Turbo-VBI is fitted on."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from sparsetheory.bayesian.off_grid.parametric_matrix import ParametricMatrix
from sparsetheory.bayesian.turbo.checks import require_units
from sparsetheory.typing import AnyArray

__all__ = ["check_off_grid", "require_parametric"]


def require_parametric(F: Any) -> None:
    """Raise TypeError for what is no ParametricMatrix."""
    if not isinstance(F, ParametricMatrix):
        raise TypeError(
            f"F must be a ParametricMatrix, such as half_wavelength_array makes; got {type(F).__name__} "
            "(TurboVBI takes matrices that are known)"
        )


def check_off_grid(F: Any, y: ArrayLike) -> tuple[AnyArray, Any]:
    """Return the data in double precision, complex if the matrix is, and the type of what is returned."""
    require_parametric(F)
    block, data = F.matrix(), np.asarray(y)
    if sparse.issparse(y):
        raise TypeError("y must be dense: sparse data were passed, make them dense with .toarray()")
    if data.dtype.kind not in "iufc":
        raise ValueError(f"y must be an array of numbers; got {data.dtype}")
    if data.ndim not in (1, 2) or data.shape[0] != block.shape[0] or data.size == 0:
        raise ValueError(f"y must have one entry or row per row of F, {block.shape[0]}; got shape {data.shape}")
    if not np.isfinite(data).all():
        raise ValueError("y contains NaN or infinity")
    if not block.any(axis=0).all():
        raise ValueError(f"F must have no column of zeros on the grid; column {int(np.argmin(block.any(axis=0)))} is")
    F.check_slopes()
    dtype = np.result_type(block.dtype, data.dtype, np.float32)
    data = data.astype(np.complex128 if dtype.kind == "c" else np.float64)
    require_units(block.astype(data.dtype), data)
    return data, dtype
