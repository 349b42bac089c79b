"""What is refused before anyone is asked, though each parameter by itself is allowed."""

from dataclasses import fields

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import finite_array
from sparsetheory.privacy.collection.state import MomentState
from sparsetheory.privacy.device.schema import LDPSchema
from sparsetheory.privacy.errors import SchemaMismatchError

__all__ = ["require_public", "require_same_messages"]


def require_public(covariance: ArrayLike, mechanism: str, fit_intercept: bool, n_features: int) -> None:
    """Raise a ValueError unless public second moments are a symmetric matrix, and of use to the mechanism."""
    public = finite_array("public_covariance", covariance, ndim=2)
    if public.shape != (n_features, n_features):
        raise ValueError(f"public_covariance must be of shape {(n_features, n_features)}; got shape {public.shape}")
    if not np.allclose(public, public.T, rtol=1e-6, atol=1e-6 * float(np.abs(public).max())):
        raise ValueError("public_covariance must be symmetric; got a matrix that is not")
    if fit_intercept:
        raise ValueError("fit_intercept must be False with public_covariance, which knows no constant; got True")
    if mechanism == "sketch":
        raise ValueError(
            "mechanism must be another one with public_covariance, as a bit of the sketch holds all moments; "
            "got 'sketch'"
        )


def require_same_messages(state: MomentState, wanted: LDPSchema, simulation: bool) -> None:
    """Raise an error unless further messages are made as those of a state were.

    Raises
    ------
    ValueError
        If one coin is that of a simulation and the other is not.
    SchemaMismatchError
        If the schemas differ.
    """
    if simulation != state.simulated:
        raise ValueError(f"simulation must be {state.simulated}, as when the first users were asked; got {simulation}")
    names = [field.name for field in fields(LDPSchema)]
    changed = [name for name in names if getattr(wanted, name) != getattr(state.schema, name)]
    if changed:
        raise SchemaMismatchError(
            f"{', '.join(changed)} must be as for the messages so far; set them to those of state_.schema, "
            "or begin a new collection with fit"
        )
