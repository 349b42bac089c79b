"""Mixed operations and chains of them: outputs, costs, choices, and what is refused."""

import math

import pytest
import torch
from torch import nn

from sparsetheory.gpu import core
from sparsetheory.gpu.search import MixedOp, SparseLinear, SuperChain, derive
from sparsetheory.gpu.search.supernet.mixed_op import Zero


def _inputs(n, width):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(1))


def test_a_mixture_is_the_sum_of_its_operations_by_their_shares():
    edge = MixedOp([nn.Linear(4, 4), nn.Identity(), Zero(4)])
    with torch.no_grad():
        edge.alpha.copy_(torch.tensor([0.3, -1.0, 2.0]))
    x = _inputs(5, 4)
    powers = [math.exp(value) for value in (0.3, -1.0, 2.0)]
    expected = (powers[0] * edge.ops[0](x) + powers[1] * x) / sum(powers)
    torch.testing.assert_close(edge(x), expected)
    shares = [power / sum(powers) for power in powers]
    assert float(edge.entropy().detach()) == pytest.approx(-sum(p * math.log(p) for p in shares), rel=1e-5)


@pytest.mark.parametrize("option", [0, 1, 2])
def test_a_clear_choice_is_its_operation_exactly(option):
    edge = MixedOp({"dense": nn.Linear(4, 4), "identity": nn.Identity(), "zero": Zero(4)})
    with torch.no_grad():
        edge.alpha[option] = 500.0
    x = _inputs(5, 4)
    assert torch.equal(edge(x), edge.ops[option](x))
    assert float(edge.entropy().detach()) == 0.0


def test_the_choice_leaves_zero_out_and_takes_the_first_of_equals():
    edge = MixedOp({"zero": Zero(4), "identity": nn.Identity(), "dense": nn.Linear(4, 4)})
    assert edge.chosen == 1
    with torch.no_grad():
        edge.alpha.copy_(torch.tensor([9.0, -3.0, -2.0]))
    assert edge.chosen == 2
    # To look at the choice changes nothing.
    assert edge.alpha.tolist() == [9.0, -3.0, -2.0]


def test_costs_are_relative_to_a_dense_edge():
    model = SuperChain(6, [8, 8, 10], 3, ["zero", "dense", "sparse:0.25", "low_rank:2"])
    assert model.costs == ((0.0, 1.0, 16 / 64, (16 + 16) / 64), (0.0, 1.0, 20 / 80, (16 + 20) / 80))
    square = SuperChain(6, [8, 8], 3, ["identity", "sparse:1.0"])
    assert square.costs == ((0.0, 1.0),)
    assert float(square.expected_cost().detach()) == 0.5


def test_costs_count_what_a_sparse_layer_keeps_not_what_happens_to_be_zero():
    edge = MixedOp([nn.Sequential(SparseLinear(4, 4, 0.5), nn.ReLU()), nn.Identity()])
    edge.ops[0][0].masked = False
    assert edge.costs(4)[0] == 1.0
    edge.ops[0][0].masked = True
    with torch.no_grad():
        edge.ops[0][0].parametrizations.weight.original.zero_()
    assert edge.costs(4)[0] == 0.5


def test_a_derived_network_is_the_chain_with_clear_choices():
    model = SuperChain(6, [8, 8, 8, 8], 3, ["zero", "identity", "sparse:0.25", "dense"])
    for alpha, option in zip(model.alphas, (2, 1, 3), strict=True):
        with torch.no_grad():
            alpha[option] = 500.0
    network = derive(model)
    x = _inputs(5, 6)
    assert torch.equal(network(x), model(x))
    kinds = [type(module).__name__.removeprefix("Parametrized") for module in network]
    assert kinds == ["Linear", "ReLU", "SparseLinear", "ReLU", "Linear", "ReLU", "Linear"]
    # Copies: training the one leaves the other.
    with torch.no_grad():
        network[0].weight.zero_()
    assert int(model.stem[0].weight.count_nonzero()) > 0
    assert [p.requires_grad for name, p in network.named_parameters() if name.endswith("score")] == [False]
    assert all(edge.ops[2][0].score.requires_grad for edge in model.mixed())
    assert core.sparsity_report(network, core.MaskSet.of(network)).layers[1].density == 0.25


def test_all_draws_come_from_the_generator():
    one, same, other = (SuperChain(6, [8, 8], 3, generator=seed) for seed in (0, 0, 1))
    first, second, third = (model.state_dict() for model in (one, same, other))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], third["stem.0.weight"])


def test_chains_run_in_double_precision():
    model = SuperChain(6, [8, 8], 3).double()
    assert model(_inputs(2, 6).double()).dtype == torch.float64
    assert model.expected_cost().dtype == torch.float64


def test_the_expected_cost_has_the_precision_of_alpha():
    model = SuperChain(6, [8, 8], 2, ["dense", "sparse:0.25"])
    assert model.expected_cost().dtype == torch.float32
    assert model.bfloat16().expected_cost().dtype == torch.bfloat16


def test_bad_chains_are_refused():
    with pytest.raises(ValueError, match="ops must be 'zero'"):
        SuperChain(6, [8, 8], 2, ["low_rank:²"])
    with pytest.raises(ValueError, match="ops must hold an operation that lets something pass; got none"):
        SuperChain(6, [8, 8], 3, ["zero"])
    with pytest.raises(ValueError, match="ops must hold an operation that lets something pass"):
        MixedOp([])
    with pytest.raises(ValueError, match="widths must be equal around an edge with 'identity'; got 8 and 9"):
        SuperChain(6, [8, 9], 3, ["identity", "dense"])
    with pytest.raises(ValueError, match=r"outputs of one shape; got \{'0': \(5, 4\), '1': \(5, 1\)\}"):
        MixedOp([nn.Identity(), nn.Linear(4, 1)])(_inputs(5, 4))
    for name in ("conv", "sparse", "sparse:x", "dense:3", "low_rank:x", "low_rank"):
        with pytest.raises(ValueError, match=f"low_rank:RANK'; got '{name}'"):
            SuperChain(6, [8, 8], 3, [name])
    with pytest.raises(ValueError, match="density must be a number in"):
        SuperChain(6, [8, 8], 3, ["sparse:0"])
    with pytest.raises(ValueError, match="rank of 'low_rank:0' must be an integer from 1"):
        SuperChain(6, [8, 8], 3, ["low_rank:0"])
    with pytest.raises(ValueError, match="widths must hold at least two numbers"):
        SuperChain(6, [8], 3)
    for ops in ("dense", [], ["dense", "dense"]):
        with pytest.raises(ValueError, match="ops must be names, at least one and each once"):
            SuperChain(6, [8, 8], 3, ops)
