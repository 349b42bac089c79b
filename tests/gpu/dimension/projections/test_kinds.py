"""What holds for every kind of projection."""

import copy
import pickle

import numpy as np
import pytest
import torch

from sparsetheory.gpu.dimension import DenseProjection, FastfoodProjection, SparseProjection

KINDS = [DenseProjection, SparseProjection, FastfoodProjection]
each_kind = pytest.mark.parametrize("kind", KINDS)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@each_kind
@pytest.mark.parametrize(("d", "D"), [(1, 1), (1, 7), (3, 16), (7, 50), (60, 60), (33, 5000)])
def test_products_are_those_of_the_matrix(kind, d, D, device):
    P = kind(d, D, dtype=torch.float64, device=device)
    matrix, t, g = P.to_dense(), draw(2, 3, d).to(device), draw(2, 3, D).to(device)
    assert matrix.shape == (D, d)
    torch.testing.assert_close(P.apply(t), t @ matrix.mT)
    torch.testing.assert_close(P.adjoint(g), g @ matrix)
    torch.testing.assert_close(P.column_norms(), matrix.norm(dim=0))
    torch.testing.assert_close(P.apply(t[0, 0]), matrix @ t[0, 0])
    torch.testing.assert_close(matrix.cpu(), kind(d, D, dtype=torch.float64).to_dense())


@each_kind
def test_rows_of_any_layout_and_number(kind):
    P = kind(4, 20, dtype=torch.float64)
    t, g = draw(4, 3).T, draw(20, 3).T
    torch.testing.assert_close(P.apply(t), P.apply(t.contiguous()))
    torch.testing.assert_close(P.adjoint(g), P.adjoint(g.contiguous()))
    assert P.apply(draw(0, 4)).shape == (0, 20)
    assert P.adjoint(draw(2, 0, 20)).shape == (2, 0, 4)


@each_kind
def test_zero_goes_to_zero_exactly(kind):
    P = kind(4, 21)
    assert torch.equal(P.apply(torch.zeros(4)), torch.zeros(21))
    assert torch.equal(P.adjoint(torch.zeros(21)), torch.zeros(4))


@each_kind
def test_derivatives_of_first_and_second_order(kind):
    P = kind(5, 21, dtype=torch.float64)
    for multiply, size in ((P.apply, 5), (P.adjoint, 21)):
        x = draw(2, size).requires_grad_()
        assert torch.autograd.gradcheck(multiply, x, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(lambda z, multiply=multiply: multiply(z).square(), x)


@each_kind
def test_gradient_of_a_network_is_the_adjoint_of_its_gradient(kind):
    network = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    start = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    P = kind(5, len(start), dtype=torch.float64)
    names, shapes = zip(*((name, value.shape) for name, value in network.named_parameters()), strict=True)
    X = draw(9, 4)

    def loss(theta):
        parts = theta.split([shape.numel() for shape in shapes])
        weights = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return torch.func.functional_call(network, weights, X).square().sum()

    t = 0.1 * draw(5)
    gradient = torch.func.grad(loss)(start + P.apply(t))
    torch.testing.assert_close(torch.func.grad(lambda t: loss(start + P.apply(t)))(t), P.adjoint(gradient))
    hessian = torch.func.hessian(loss)(start + P.apply(t))
    matrix = P.to_dense()
    expected = matrix.T @ hessian @ matrix
    torch.testing.assert_close(torch.func.hessian(lambda t: loss(start + P.apply(t)))(t), expected)


@each_kind
def test_batched_by_vmap(kind):
    P, t = kind(5, 21, dtype=torch.float64), draw(3, 5)
    torch.testing.assert_close(torch.func.vmap(P.apply)(t), P.apply(t))
    torch.testing.assert_close(torch.func.vmap(P.apply, in_dims=1)(t.T), P.apply(t))
    torch.testing.assert_close(torch.func.jacrev(P.apply)(t[0]), P.to_dense())
    torch.testing.assert_close(torch.func.jacfwd(P.apply)(t[0]), P.to_dense())


@each_kind
def test_seeds_reproduce(kind):
    same = [kind(4, 50, generator=3).to_dense() for _ in range(2)]
    assert torch.equal(*same)
    assert torch.equal(kind(4, 50, generator=torch.Generator().manual_seed(3)).to_dense(), same[0])
    assert not torch.equal(kind(4, 50, generator=4).to_dense(), same[0])
    generator = torch.Generator().manual_seed(3)
    assert not torch.equal(kind(4, 50, generator=generator).to_dense(), kind(4, 50, generator=generator).to_dense())


@each_kind
def test_the_global_generator_of_torch(kind):
    torch.manual_seed(5)
    first = kind(4, 50, generator=None).to_dense()
    torch.manual_seed(5)
    assert torch.equal(kind(4, 50, generator=None).to_dense(), first)


@pytest.mark.parametrize("kind", [DenseProjection, FastfoodProjection])
def test_fewer_components_are_the_first_ones(kind):
    few, many = (kind(d, 100, dtype=torch.float64).to_dense() for d in (5, 40))
    torch.testing.assert_close(few, many[:, :5])


@each_kind
def test_the_map_is_the_same_in_every_type(kind):
    exact, t = kind(20, 300, dtype=torch.float64), draw(20)
    for dtype, tol in ((torch.float32, 1e-6), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)):
        for P in (kind(20, 300, dtype=dtype), exact.to(dtype=dtype)):
            found = P.apply(t.to(dtype))
            assert found.dtype == P.adjoint(found).dtype == P.column_norms().dtype == P.to_dense().dtype == dtype
            # What is rounded is the input, and the result once.
            expected = exact.apply(t.to(dtype).double())
            assert float((found.double() - expected).abs().max()) < tol * float(expected.abs().max())
    assert exact.dtype == torch.float64


@each_kind
def test_half_precision_does_not_overflow(kind):
    # An unnormalised transform of 2**16 such numbers reaches 6.5e6, more than a float16 holds.
    P = kind(64, 2**16, dtype=torch.float16)
    found = P.adjoint(torch.full((2**16,), 100.0, dtype=torch.float16))
    assert bool(found.isfinite().all())


@each_kind
def test_copies_pickles_and_states_are_the_map(kind):
    P, t = kind(6, 90, generator=torch.Generator().manual_seed(1)), torch.ones(6)
    other = kind(6, 90, generator=2)
    assert not torch.equal(other.apply(t), P.apply(t))
    other.load_state_dict(P.state_dict())
    for twin in (copy.deepcopy(P), pickle.loads(pickle.dumps(P)), other, P.to(device="cpu")):
        assert torch.equal(twin.apply(t), P.apply(t))
        assert torch.equal(twin.column_norms(), P.column_norms())


@each_kind
def test_a_loaded_state_is_a_copy(kind):
    P, other = kind(6, 90), kind(6, 90, generator=1)
    expected = P.to_dense()
    other.load_state_dict(P.state_dict())
    for value in P.state_dict().values():
        value.zero_()
    assert torch.equal(other.to_dense(), expected)


@each_kind
def test_a_state_that_does_not_fit_is_an_error_and_changes_nothing(kind):
    P = kind(6, 90)
    kept = P.to_dense()
    state = P.state_dict()
    with pytest.raises(ValueError, match="state must hold"):
        P.load_state_dict({"weights": torch.ones(6)})
    name = "weight" if kind is DenseProjection else "factors"
    with pytest.raises(ValueError, match=f"{name} of state must have shape"):
        P.load_state_dict({**state, name: torch.ones(3)})
    assert torch.equal(P.to_dense(), kept)


@each_kind
def test_a_state_of_other_dtypes_is_read_as_numbers_or_refused(kind):
    P = kind(6, 90)
    kept, state = P.to_dense(), P.state_dict()
    P.load_state_dict({name: value.double() if value.is_floating_point() else value for name, value in state.items()})
    assert torch.equal(P.to_dense(), kept)
    for name, value in state.items():
        # Integers of another width would be read as twice as many, or half as many.
        wrong = value.long() if value.dtype in (torch.int16, torch.int32) else value.to(torch.int32)
        with pytest.raises(ValueError, match=f"{name} of state must"):
            P.load_state_dict({**state, name: wrong})
    assert torch.equal(P.to_dense(), kept)


@each_kind
def test_what_is_no_tensor_is_an_error(kind):
    P = kind(2, 5)
    for wrong in ([1.0, 2.0], np.ones(2, np.float32)):
        with pytest.raises(ValueError, match=f"t must be a tensor; got {type(wrong).__name__}"):
            P.apply(wrong)


@each_kind
def test_wrong_arguments_are_named(kind):
    for d, D, name in ((0, 5, "n_components"), (6, 5, "n_components"), (1.5, 5, "n_components"), (1, 0, "n_features")):
        with pytest.raises(ValueError, match=f"{name} must be"):
            kind(d, D)
    with pytest.raises(ValueError, match="dtype must be one of"):
        kind(2, 5, dtype=torch.int32)
    with pytest.raises(ValueError, match="generator must be"):
        kind(2, 5, generator=-1)
    P = kind(2, 5)
    with pytest.raises(ValueError, match="t must have 2 entries along its last axis; got shape"):
        P.apply(torch.ones(5))
    with pytest.raises(ValueError, match="g must have 5 entries along its last axis; got shape"):
        P.adjoint(torch.ones(2))
    with pytest.raises(ValueError, match=r"t must be torch.float32 on cpu; got torch.float64 on cpu"):
        P.apply(torch.ones(2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"g must be torch.float32 on cpu; got torch.float32 on meta"):
        P.adjoint(torch.ones(5, device="meta"))
    with pytest.raises(ValueError, match="dtype must be one of"):
        P.to(dtype=torch.int64)


@each_kind
def test_autocast_leaves_the_map_as_it_is(kind):
    P, t, g = kind(20, 300), draw(20).float(), draw(300).float()
    expected = P.apply(t), P.adjoint(g)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = P.apply(t), P.adjoint(g)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@each_kind
def test_compiled_by_torch(kind):
    # The backend runs what was traced as it is: whether it can be traced is the question.
    P = kind(5, 50, dtype=torch.float64)
    t = draw(5).requires_grad_()
    found = torch.compile(lambda t: P.apply(t).sin(), backend="eager")(t)
    (gradient,) = torch.autograd.grad(found.sum(), t)
    torch.testing.assert_close(found, P.apply(t).sin())
    torch.testing.assert_close(gradient, P.adjoint(P.apply(t).cos()))
