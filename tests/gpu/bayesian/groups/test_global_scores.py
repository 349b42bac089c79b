import warnings

import pytest

from sparsetheory.gpu.bayesian import check_global_scores


@pytest.mark.parametrize(("criterion", "rule"), [("snr", "gain"), ("savage_dickey", "grad"), ("mean", "grad")])
def test_scores_without_a_common_unit_are_reported(criterion, rule):
    with pytest.warns(UserWarning, match=f"got '{criterion}' and '{rule}'"):
        check_global_scores(criterion, rule, "global")


def test_nats_and_budgets_of_single_layers_are_fine():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_global_scores("savage_dickey", "gain", "global")
        check_global_scores("snr", "grad", "tensor")
    with pytest.raises(ValueError, match="budget must be"):
        check_global_scores("snr", "grad", "layers")
