"""Sparse coding: the penalty family of the package, coders with certificates, dictionaries and receptive fields.

Names are loaded on first use, so that a penalty does not pay for the imports of a dictionary learner.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsetheory.coding.code_certificates import CodeCertificate, criticality, duality_gap
    from sparsetheory.coding.dictionary import LqDictionaryLearning
    from sparsetheory.coding.dictionary_certificate import DictionaryCertificate
    from sparsetheory.coding.dictionary_history import DictionaryHistory
    from sparsetheory.coding.dictionary_plot import dictionary_mosaic, plot_dictionary
    from sparsetheory.coding.dictionary_start import UncentredSignalsWarning
    from sparsetheory.coding.dictionary_state import CheckpointError
    from sparsetheory.coding.encode_info import EncodeInfo, Encoding
    from sparsetheory.coding.encoder import encode
    from sparsetheory.coding.gabor import GaborFits, fit_gabor
    from sparsetheory.coding.gradient_dictionary import published_settings
    from sparsetheory.coding.images import bundled_images, luminance
    from sparsetheory.coding.l0_certificates import L0CodeCertificate
    from sparsetheory.coding.l0_coordinate_descent import cd_l0
    from sparsetheory.coding.l0_minima import L0Minima, enumerate_l0_minima
    from sparsetheory.coding.occlusion_images import dead_leaves
    from sparsetheory.coding.orientation_tuning import circular_variance
    from sparsetheory.coding.patches import natural_patches
    from sparsetheory.coding.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, LogSum, Lq, make_penalty, prox
    from sparsetheory.coding.penalty import Penalty
    from sparsetheory.coding.proximal_gradient import ForwardBackwardInfo, forward_backward
    from sparsetheory.coding.receptive_fields import RF_CATEGORIES, rf_categories
    from sparsetheory.coding.refit import debias
    from sparsetheory.coding.single_replacement import is_sbr_stable, sbr
    from sparsetheory.coding.sparseness_measures import sparseness
    from sparsetheory.coding.stability import Polished, Stability, polish, stability_levels
    from sparsetheory.coding.target_sparsity import lam_for_active
    from sparsetheory.coding.trajectory import Trajectory
    from sparsetheory.coding.whitening import standardise_image, whiten_image, whiten_images, whitening_filter
    from sparsetheory.coding.zero_fixed_point import lambda_max

_MODULES = {
    "code_certificates": ("CodeCertificate", "criticality", "duality_gap"),
    "dictionary": ("LqDictionaryLearning",),
    "dictionary_certificate": ("DictionaryCertificate",),
    "dictionary_history": ("DictionaryHistory",),
    "dictionary_start": ("UncentredSignalsWarning",),
    "dictionary_state": ("CheckpointError",),
    "target_sparsity": ("lam_for_active",),
    "dictionary_plot": ("dictionary_mosaic", "plot_dictionary"),
    "gradient_dictionary": ("published_settings",),
    "encode_info": ("EncodeInfo", "Encoding"),
    "encoder": ("encode",),
    "gabor": ("GaborFits", "fit_gabor"),
    "images": ("bundled_images", "luminance"),
    "l0_certificates": ("L0CodeCertificate",),
    "l0_coordinate_descent": ("cd_l0",),
    "l0_minima": ("L0Minima", "enumerate_l0_minima"),
    "occlusion_images": ("dead_leaves",),
    "orientation_tuning": ("circular_variance",),
    "patches": ("natural_patches",),
    "penalties": ("CEL0", "L0", "L1", "MCP", "SCAD", "CappedL1", "LogSum", "Lq", "make_penalty", "prox"),
    "penalty": ("Penalty",),
    "proximal_gradient": ("ForwardBackwardInfo", "forward_backward"),
    "receptive_fields": ("RF_CATEGORIES", "rf_categories"),
    "refit": ("debias",),
    "single_replacement": ("is_sbr_stable", "sbr"),
    "sparseness_measures": ("sparseness",),
    "stability": ("Polished", "Stability", "polish", "stability_levels"),
    "trajectory": ("Trajectory",),
    "whitening": ("standardise_image", "whiten_image", "whiten_images", "whitening_filter"),
    "zero_fixed_point": ("lambda_max",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CEL0",
    "L0",
    "L1",
    "MCP",
    "RF_CATEGORIES",
    "SCAD",
    "CappedL1",
    "CheckpointError",
    "CodeCertificate",
    "DictionaryCertificate",
    "DictionaryHistory",
    "EncodeInfo",
    "Encoding",
    "ForwardBackwardInfo",
    "GaborFits",
    "L0CodeCertificate",
    "L0Minima",
    "LogSum",
    "Lq",
    "LqDictionaryLearning",
    "Penalty",
    "Polished",
    "Stability",
    "Trajectory",
    "UncentredSignalsWarning",
    "bundled_images",
    "cd_l0",
    "circular_variance",
    "criticality",
    "dead_leaves",
    "debias",
    "dictionary_mosaic",
    "duality_gap",
    "encode",
    "enumerate_l0_minima",
    "fit_gabor",
    "forward_backward",
    "is_sbr_stable",
    "lam_for_active",
    "lambda_max",
    "luminance",
    "make_penalty",
    "natural_patches",
    "plot_dictionary",
    "polish",
    "prox",
    "published_settings",
    "rf_categories",
    "sbr",
    "sparseness",
    "stability_levels",
    "standardise_image",
    "whiten_image",
    "whiten_images",
    "whitening_filter",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sparsetheory.coding' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sparsetheory.coding.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
