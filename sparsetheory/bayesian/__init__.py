"""Structured Bayesian recovery: Kronecker sparse Bayesian learning, and Turbo-VBI with Markov supports.

Names are loaded on first use, so that one estimator does not pay for the imports of the others.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsetheory.bayesian.am_update import am_mstep, am_sweep
    from sparsetheory.bayesian.antenna_array import half_wavelength_array, partial_pilots
    from sparsetheory.bayesian.batch_pursuit import KronOMPResult, kron_omp_batch
    from sparsetheory.bayesian.irs_mimo import irs_channels, irs_nmse, irs_ser, make_irs_mimo, perfect_ser
    from sparsetheory.bayesian.kron_algebra import kron_matvec, mode_product
    from sparsetheory.bayesian.kron_problems import make_kron_sparse
    from sparsetheory.bayesian.kronecker_omp import KroneckerOMP
    from sparsetheory.bayesian.kronecker_omp_certificate import KroneckerOMPCertificate
    from sparsetheory.bayesian.kronecker_sbl import KroneckerSBL
    from sparsetheory.bayesian.markov_chain import (
        ChainMessages,
        chain_messages,
        chain_pair_marginals,
        sample_chain,
    )
    from sparsetheory.bayesian.markov_grid import GridMessages, grid_bp
    from sparsetheory.bayesian.markov_rows import RowsMeanField, grid_rows_mf
    from sparsetheory.bayesian.mm_update import mm_sweep
    from sparsetheory.bayesian.newton_update import newton_mstep
    from sparsetheory.bayesian.off_grid_certificate import OffGridCertificate
    from sparsetheory.bayesian.off_grid_data import OffGridChannel, make_off_grid_channel
    from sparsetheory.bayesian.off_grid_turbo_vbi import OffGridTurboVBI
    from sparsetheory.bayesian.oracle import oracle_ls, oracle_nmse
    from sparsetheory.bayesian.parametric_matrix import ParametricMatrix
    from sparsetheory.bayesian.pattern_certificate import PatternCertificate
    from sparsetheory.bayesian.pattern_coupled_sbl import PatternCoupledSBL
    from sparsetheory.bayesian.posterior_functions import kron_posterior, sbl_cost
    from sparsetheory.bayesian.recovery_metrics import support_recovery_rate
    from sparsetheory.bayesian.sbl import SBL
    from sparsetheory.bayesian.sbl_minima import kron_local_minima, sbl_local_minima, sbl_sparsify
    from sparsetheory.bayesian.state_evolution import StateEvolution, turbo_cs_evolution
    from sparsetheory.bayesian.stationarity import StationarityCertificate
    from sparsetheory.bayesian.stationarity_flat import FlatStationarityCertificate
    from sparsetheory.bayesian.structured_posterior import KronPosterior
    from sparsetheory.bayesian.svd_update import svd_mstep
    from sparsetheory.bayesian.turbo_certificate import TurboCertificate
    from sparsetheory.bayesian.turbo_cs import TurboCS
    from sparsetheory.bayesian.turbo_cs_certificate import TurboCSCertificate
    from sparsetheory.bayesian.turbo_data import ClusteredProblem, make_clustered
    from sparsetheory.bayesian.turbo_diagonal import diagonal_posterior
    from sparsetheory.bayesian.turbo_evidence import turbo_elbo
    from sparsetheory.bayesian.turbo_grid_step import dynamic_grid_objective, dynamic_grid_step
    from sparsetheory.bayesian.turbo_interval import PredictionInterval
    from sparsetheory.bayesian.turbo_vbi import TurboVBI

_MODULES = {
    "am_update": ("am_mstep", "am_sweep"),
    "antenna_array": ("half_wavelength_array", "partial_pilots"),
    "batch_pursuit": ("KronOMPResult", "kron_omp_batch"),
    "irs_mimo": ("irs_channels", "irs_nmse", "irs_ser", "make_irs_mimo", "perfect_ser"),
    "kron_algebra": ("kron_matvec", "mode_product"),
    "kron_problems": ("make_kron_sparse",),
    "kronecker_omp": ("KroneckerOMP",),
    "kronecker_omp_certificate": ("KroneckerOMPCertificate",),
    "kronecker_sbl": ("KroneckerSBL",),
    "markov_chain": ("ChainMessages", "chain_messages", "chain_pair_marginals", "sample_chain"),
    "markov_grid": ("GridMessages", "grid_bp"),
    "markov_rows": ("RowsMeanField", "grid_rows_mf"),
    "mm_update": ("mm_sweep",),
    "newton_update": ("newton_mstep",),
    "off_grid_certificate": ("OffGridCertificate",),
    "off_grid_data": ("OffGridChannel", "make_off_grid_channel"),
    "off_grid_turbo_vbi": ("OffGridTurboVBI",),
    "oracle": ("oracle_ls", "oracle_nmse"),
    "parametric_matrix": ("ParametricMatrix",),
    "pattern_certificate": ("PatternCertificate",),
    "pattern_coupled_sbl": ("PatternCoupledSBL",),
    "posterior_functions": ("kron_posterior", "sbl_cost"),
    "recovery_metrics": ("support_recovery_rate",),
    "sbl": ("SBL",),
    "sbl_minima": ("kron_local_minima", "sbl_local_minima", "sbl_sparsify"),
    "state_evolution": ("StateEvolution", "turbo_cs_evolution"),
    "stationarity": ("StationarityCertificate",),
    "stationarity_flat": ("FlatStationarityCertificate",),
    "structured_posterior": ("KronPosterior",),
    "svd_update": ("svd_mstep",),
    "turbo_certificate": ("TurboCertificate",),
    "turbo_cs": ("TurboCS",),
    "turbo_cs_certificate": ("TurboCSCertificate",),
    "turbo_data": ("ClusteredProblem", "make_clustered"),
    "turbo_diagonal": ("diagonal_posterior",),
    "turbo_evidence": ("turbo_elbo",),
    "turbo_grid_step": ("dynamic_grid_objective", "dynamic_grid_step"),
    "turbo_interval": ("PredictionInterval",),
    "turbo_vbi": ("TurboVBI",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "SBL",
    "ChainMessages",
    "ClusteredProblem",
    "FlatStationarityCertificate",
    "GridMessages",
    "KronOMPResult",
    "KronPosterior",
    "KroneckerOMP",
    "KroneckerOMPCertificate",
    "KroneckerSBL",
    "OffGridCertificate",
    "OffGridChannel",
    "OffGridTurboVBI",
    "ParametricMatrix",
    "PatternCertificate",
    "PatternCoupledSBL",
    "PredictionInterval",
    "RowsMeanField",
    "StateEvolution",
    "StationarityCertificate",
    "TurboCS",
    "TurboCSCertificate",
    "TurboCertificate",
    "TurboVBI",
    "am_mstep",
    "am_sweep",
    "chain_messages",
    "chain_pair_marginals",
    "diagonal_posterior",
    "dynamic_grid_objective",
    "dynamic_grid_step",
    "grid_bp",
    "grid_rows_mf",
    "half_wavelength_array",
    "irs_channels",
    "irs_nmse",
    "irs_ser",
    "kron_local_minima",
    "kron_matvec",
    "kron_omp_batch",
    "kron_posterior",
    "make_clustered",
    "make_irs_mimo",
    "make_kron_sparse",
    "make_off_grid_channel",
    "mm_sweep",
    "mode_product",
    "newton_mstep",
    "oracle_ls",
    "oracle_nmse",
    "partial_pilots",
    "perfect_ser",
    "sample_chain",
    "sbl_cost",
    "sbl_local_minima",
    "sbl_sparsify",
    "support_recovery_rate",
    "svd_mstep",
    "turbo_cs_evolution",
    "turbo_elbo",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sparsetheory.bayesian' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sparsetheory.bayesian.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
