"""Sparse linear regression: random supports, and strong baselines on shared kernels.

Names are loaded on first use, so that one estimator does not pay for the imports of the others.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsetheory.regression import theory
    from sparsetheory.regression.anchors import Anchors, select_anchors
    from sparsetheory.regression.coefficients import adversarial_coefficients, sample_support
    from sparsetheory.regression.designs import WorstCase, make_design, worst_case
    from sparsetheory.regression.distances import leave_one_out_distances, residual_norms
    from sparsetheory.regression.gauge import AnchorCertificate, certify_anchors, support_gauge
    from sparsetheory.regression.greedy import OMP, ForwardBackward, omp_gram
    from sparsetheory.regression.hard_thresholding import HTP, NIHT, CoSaMP
    from sparsetheory.regression.l0_swap import L0SwapRegressor
    from sparsetheory.regression.lasso import WorkingSetLasso, WorkingSetLassoCV
    from sparsetheory.regression.lasso_certificate import LassoCertificate
    from sparsetheory.regression.preconditioned import OutlierPeelingLasso, PufferLasso
    from sparsetheory.regression.prediction_certificate import PredictionCertificate
    from sparsetheory.regression.random_support import RandomSupportRegressor
    from sparsetheory.regression.recovery import RecoveryRecord, RecoverySummary, benchmark_recovery, summarise
    from sparsetheory.regression.regularization_path import RegularizationPath, gram_lasso_path, lasso_path
    from sparsetheory.regression.splicing import SplicingRegressor
    from sparsetheory.regression.support_certificate import SupportCertificate

_MODULES = {
    "anchors": ("Anchors", "select_anchors"),
    "coefficients": ("adversarial_coefficients", "sample_support"),
    "designs": ("WorstCase", "make_design", "worst_case"),
    "distances": ("leave_one_out_distances", "residual_norms"),
    "gauge": ("AnchorCertificate", "certify_anchors", "support_gauge"),
    "greedy": ("OMP", "ForwardBackward", "omp_gram"),
    "hard_thresholding": ("HTP", "NIHT", "CoSaMP"),
    "l0_swap": ("L0SwapRegressor",),
    "lasso": ("WorkingSetLasso", "WorkingSetLassoCV"),
    "lasso_certificate": ("LassoCertificate",),
    "regularization_path": ("RegularizationPath", "gram_lasso_path", "lasso_path"),
    "prediction_certificate": ("PredictionCertificate",),
    "preconditioned": ("OutlierPeelingLasso", "PufferLasso"),
    "random_support": ("RandomSupportRegressor",),
    "recovery": ("RecoveryRecord", "RecoverySummary", "benchmark_recovery", "summarise"),
    "splicing": ("SplicingRegressor",),
    "support_certificate": ("SupportCertificate",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "HTP",
    "NIHT",
    "OMP",
    "AnchorCertificate",
    "Anchors",
    "CoSaMP",
    "ForwardBackward",
    "L0SwapRegressor",
    "LassoCertificate",
    "OutlierPeelingLasso",
    "PredictionCertificate",
    "PufferLasso",
    "RandomSupportRegressor",
    "RecoveryRecord",
    "RecoverySummary",
    "RegularizationPath",
    "SplicingRegressor",
    "SupportCertificate",
    "WorkingSetLasso",
    "WorkingSetLassoCV",
    "WorstCase",
    "adversarial_coefficients",
    "benchmark_recovery",
    "certify_anchors",
    "gram_lasso_path",
    "lasso_path",
    "leave_one_out_distances",
    "make_design",
    "omp_gram",
    "residual_norms",
    "sample_support",
    "select_anchors",
    "summarise",
    "support_gauge",
    "theory",
    "worst_case",
]


def __getattr__(name: str) -> Any:
    if name == "theory":
        return importlib.import_module("sparsetheory.regression.theory")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"sparsetheory.regression.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'sparsetheory.regression' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
