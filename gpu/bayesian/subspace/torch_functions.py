"""The functions of the score formulas for tensors."""

import torch

from sparsetheory.bayesian.subspace.elementwise import Elementwise

__all__ = ["TORCH"]

TORCH = Elementwise(torch.exp, torch.expm1, torch.log, torch.log1p, torch.special.ndtr, torch.sqrt, torch.where)
