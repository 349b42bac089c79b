"""How much of a message goes to the response."""

import math

from sparsetheory.privacy.device.schema import LDPSchema

__all__ = ["balanced_weight"]


def balanced_weight(schema: LDPSchema, norm_bound: float) -> float:
    r"""Return the weight w of the response with the least noise in :math:`b - A \theta`.

    Parameters
    ----------
    schema : LDPSchema
        The collection; its own weight is not used.
    norm_bound : float
        Bound C of the norm of the coefficients.

    Returns
    -------
    float

    Notes
    -----
    Ours. Write :math:`\rho` for the bound of the response over C times that of the features, and :math:`t = w^2`. For
    the sphere the squared length of a message is proportional to 1 + t; an entry of b has the variance
    :math:`\rho^2 / t` and one of :math:`A \theta` about 1 / 2, so :math:`(1 + t)(\rho^2 / t + 1/2)` is to be small, and
    :math:`t = \sqrt 2 \rho`. The length of the sketch is proportional to :math:`(1 + t)^2`, and that of Gaussian noise
    to :math:`(2 + t)^2`; with the same factors this gives :math:`2 t^2 + \rho^2 t = \rho^2` (where both variances are
    halved) and :math:`t^2 + \rho^2 t = 2 \rho^2`. For one-bit messages the shares of users are as the roots of the
    variances.
    """
    bound = schema.largest_entry if schema.mechanism in ("onebit", "paper") else schema.radius
    rho = schema.clip_y / (norm_bound * bound)
    if schema.mechanism == "sphere_joint":
        return math.sqrt(math.sqrt(2) * rho)
    if schema.mechanism == "sketch":
        return math.sqrt((math.sqrt(rho**4 + 8 * rho**2) - rho**2) / 4)
    if schema.mechanism == "gauss_tight":
        return math.sqrt((math.sqrt(rho**4 + 8 * rho**2) - rho**2) / 2)
    if schema.mechanism == "onebit":
        n_second = schema.n_design * (schema.n_design + 1) / 2
        return math.sqrt(rho * math.sqrt(schema.n_design / n_second))
    return 1.0
