"""States are matched by name: what differs is listed, tied tensors count once, integers are no weights."""

import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu import analysis


class Tied(nn.Module):
    """An embedding whose weight is also that of the output layer, and a counter."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 2)
        self.output = nn.Linear(2, 4, bias=False)
        self.output.weight = self.embedding.weight
        self.other = nn.Linear(2, 2, bias=False)
        self.register_buffer("count", torch.tensor(3))


def moved(model):
    after = copy.deepcopy(model)
    with torch.no_grad():
        after.embedding.weight[0] += 1.0
    after.count += 1
    return after


def names(report):
    return list(report.per_tensor)


def test_tied_weights_count_once_and_integers_not_at_all():
    model = Tied()
    report = analysis.update_sparsity(model, moved(model))
    assert names(report) == ["embedding.weight", "other.weight"]
    assert report.total == 1 - 2 / 12


def test_a_copied_state_may_have_lost_the_tie():
    model = Tied()
    untied = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert analysis.update_sparsity(untied, moved(model)).total == 1 - 2 / 12
    assert (
        analysis.update_sparsity(model, {k: v.clone() for k, v in moved(model).state_dict().items()}).total
        == 1 - 2 / 12
    )


def test_the_second_name_of_a_tied_weight_may_be_missing():
    model = Tied()
    stored = {name: tensor for name, tensor in moved(model).state_dict().items() if name != "output.weight"}
    assert analysis.update_sparsity(model, stored).total == 1 - 2 / 12
    assert analysis.update_sparsity(stored, model).total == 1 - 2 / 12


def test_a_weight_untied_by_the_update_counts_twice():
    model = Tied()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["output.weight"][1] += 1.0
    report = analysis.update_sparsity(model, state)
    assert names(report) == ["embedding.weight", "output.weight", "other.weight"]
    assert report.total == 1 - 2 / 20


def test_equal_tensors_that_are_not_tied_both_count():
    state = {"a": torch.zeros(3), "b": torch.zeros(3)}
    assert names(analysis.update_sparsity(state, copy.deepcopy(state))) == ["a", "b"]


def test_both_differences_of_names_are_listed():
    with pytest.raises(ValueError, match=r"only in a: \['x'\], only in b: \['y', 'z'\]"):
        analysis.update_sparsity(
            {"w": torch.ones(1), "x": torch.ones(1)}, {"w": torch.ones(1), "y": torch.ones(1), "z": torch.ones(1)}
        )


def test_all_differences_of_shapes_are_listed():
    a = {"v": torch.ones(2), "w": torch.ones(2, 3), "x": torch.ones(1)}
    b = {"v": torch.ones(3), "w": torch.ones(3, 2), "x": torch.ones(1)}
    with pytest.raises(ValueError, match=r"v \(2,\) in a and \(3,\) in b, w \(2, 3\) in a and \(3, 2\) in b"):
        analysis.update_mask(a, b)


def test_dtypes_must_agree_unless_both_are_rounded():
    a, b = {"w": torch.ones(2)}, {"w": torch.ones(2, dtype=torch.bfloat16)}
    with pytest.raises(ValueError, match=r"w has torch\.float32 in a and torch\.bfloat16 in b"):
        analysis.update_sparsity(a, b)
    assert analysis.update_sparsity(a, b, dtype=torch.bfloat16).total == 1.0
    with pytest.raises(ValueError, match="same dtypes"):
        analysis.update_sparsity(a, {"w": torch.ones(2, dtype=torch.int64)}, dtype=torch.bfloat16)


@pytest.mark.parametrize(
    ("a", "b", "options", "error", "message"),
    [
        ({"w": torch.ones(1)}, {"w": torch.ones(1)}, {"tol": -1e-9}, ValueError, "tol must be"),
        ({"w": torch.ones(1)}, {"w": torch.ones(1)}, {"dtype": torch.int8}, ValueError, "dtype must be"),
        ({"w": torch.ones(1)}, {"w": torch.ones(1)}, {"dtype": "bfloat16"}, ValueError, "dtype must be"),
        ({"n": torch.tensor(1)}, {"n": torch.tensor(1)}, {}, ValueError, "got none"),
        ([torch.ones(1)], {"w": torch.ones(1)}, {}, TypeError, "a must be a module"),
        ({"w": torch.ones(1)}, {"w": torch.ones(1, dtype=torch.complex64)}, {}, ValueError, "b must hold real"),
    ],
)
def test_bad_arguments(a, b, options, error, message):
    with pytest.raises(error, match=message):
        analysis.update_sparsity(a, b, **options)


def test_neither_empty_tensors_nor_a_transposed_view_are_ties():
    square = torch.randn(3, 3)
    state = {"a": torch.zeros(0), "b": torch.zeros(0), "w": square, "wt": square.T}
    assert list(analysis.update_sparsity(state, state).per_tensor) == ["a", "b", "w", "wt"]
