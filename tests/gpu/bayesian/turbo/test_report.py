"""Counts of what is on."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.bayesian.turbo.report import LayerSupport, mean_run


def test_runs_are_counted_along_rows():
    states = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]], dtype=bool)
    assert mean_run(states) == pytest.approx((2 + 1 + 3) / 3)
    assert mean_run(np.zeros((2, 3), dtype=bool)) == 0.0


def test_densities_of_a_layer_by_hand():
    states = np.array([[True, False, True], [False, False, False]])
    mask = torch.zeros(2, 3, 2, 1, dtype=torch.bool)
    mask[0, 0] = True
    mask[0, 2, 1] = True
    layer = LayerSupport.of("0", "iid", states, mask, kl=1.0, support_kl=0.5, settled=True)
    assert (layer.row_density, layer.column_density) == (0.5, pytest.approx(2 / 3))
    assert (layer.output_density, layer.input_density) == (0.5, pytest.approx(2 / 3))
    assert (layer.n_weights, layer.n_nonzero, layer.density) == (12, 3, 0.25)
