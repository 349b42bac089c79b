r"""What is proved about random supports and anchors, as functions of plain numbers.

Notation: X has N rows and d columns, :math:`\|v\|_N = \|v\|_2 / \sqrt N`; S is the support, of size k; T the anchors,
m columns that are not penalised; :math:`D_T(i)` the distance of column i to the span of T; :math:`\rho_i = D_T(i) /
D_{S \setminus i}(i)`; compatibility the largest :math:`\sum_i |w_i| D_T(i)` over w on S with :math:`\|X w\|_N = 1`.
"""

from sparsetheory.regression.theory.dictionaries import (
    atomic_norm_bound,
    atomic_norm_certificate,
    greedy_bound,
    greedy_excess,
)
from sparsetheory.regression.theory.prediction import (
    gaussian_excess,
    l1_error_bound,
    prediction_bound,
    required_samples,
    universal_alpha,
)
from sparsetheory.regression.theory.supports import (
    anchor_failure_bound,
    cluster_failure,
    required_anchors,
)

__all__ = [
    "anchor_failure_bound",
    "atomic_norm_bound",
    "atomic_norm_certificate",
    "cluster_failure",
    "gaussian_excess",
    "greedy_bound",
    "greedy_excess",
    "l1_error_bound",
    "prediction_bound",
    "required_anchors",
    "required_samples",
    "universal_alpha",
]
