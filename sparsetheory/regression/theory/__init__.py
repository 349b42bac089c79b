r"""What is proved about random supports and anchors, as functions of plain numbers.

Notation: X has N rows and d columns, :math:`\|v\|_N = \|v\|_2 / \sqrt N`; S is the support, of size k; T the anchors,
m columns that are not penalised; :math:`D_T(i)` the distance of column i to the span of T; :math:`\rho_i = D_T(i) /
D_{S \setminus i}(i)`; alpha the largest :math:`\sum_i |w_i| D_T(i)` over w on S with :math:`\|X w\|_N = 1`.
"""

from sparsetheory.regression.theory.dictionaries import (
    dictionary_gauge_bound,
    gauge_certificate,
    greedy_bound,
    greedy_excess,
)
from sparsetheory.regression.theory.prediction import (
    gaussian_excess,
    l1_error_bound,
    noise_level,
    prediction_bound,
    required_samples,
)
from sparsetheory.regression.theory.supports import (
    anchor_failure_bound,
    cluster_failure,
    required_anchors,
)

__all__ = [
    "anchor_failure_bound",
    "cluster_failure",
    "dictionary_gauge_bound",
    "gauge_certificate",
    "gaussian_excess",
    "greedy_bound",
    "greedy_excess",
    "l1_error_bound",
    "noise_level",
    "prediction_bound",
    "required_anchors",
    "required_samples",
]
