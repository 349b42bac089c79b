import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.dynamic import ContinualImportance, curvature_price, gauss_newton_diagonal, random_order


def _tensors(device="cpu", dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 4, generator=generator).to(device, dtype) for _ in range(2)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_without_gradient_weight_the_importance_is_the_magnitude(device, dtype):
    weight, gradient = _tensors(device, dtype)
    score = ContinualImportance(0.0).score(weight, gradient)
    assert torch.equal(score, weight.abs())
    assert score.dtype == dtype
    assert torch.equal(ContinualImportance(2.0).score(weight, gradient), weight.abs() + 2 * gradient.abs())


def test_the_taylor_importance_is_the_size_of_the_first_order_change():
    weight, gradient = _tensors()
    assert torch.equal(ContinualImportance(importance="taylor").score(weight, gradient), (weight * gradient).abs())


def test_the_price_is_exact_on_a_quadratic_and_has_a_sign():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(9, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(9, generator=generator, dtype=torch.float64)
    w = torch.randn(6, generator=generator, dtype=torch.float64, requires_grad=True)

    def loss(values):
        return (x @ values - y).square().sum() / 2

    (gradient,) = torch.autograd.grad(loss(w), w)
    price = ContinualImportance(importance="price", curvatures=[x.square().sum(0)]).score(w.detach(), gradient)
    cost = torch.stack([loss(w.detach() * (torch.arange(6) != i)) - loss(w.detach()) for i in range(6)])
    assert torch.allclose(price, cost, rtol=1e-12, atol=1e-12)
    assert bool((cost < 0).any())
    assert bool((cost > 0).any())


def test_at_zero_gradient_the_price_is_that_of_the_shared_score():
    weight = nn.Parameter(_tensors()[0])
    optimizer = torch.optim.SGD([weight], lr=0.0)
    curvature = torch.rand(4, generator=torch.Generator().manual_seed(2))
    seen = []

    def drop(snapshot):
        prices = [curvature_price([curvature]), ContinualImportance(importance="price", curvatures=[curvature])]
        seen.extend(price(snapshot) for price in prices)
        return seen[0]

    TopologyController(
        optimizer, {weight: torch.ones(5, 4) > 0}, drop=drop, grow=random_order, fraction=0.2, every=1, generator=0
    )
    weight.grad = torch.zeros(5, 4)
    optimizer.step()
    assert torch.equal(seen[0], seen[1])


def test_curvatures_belong_to_the_price_only():
    with pytest.raises(ValueError, match="curvatures must be given for the importance 'price'"):
        ContinualImportance(importance="price")
    with pytest.raises(ValueError, match="curvatures must be given for the importance 'price'"):
        ContinualImportance(curvatures=[torch.ones(1)])
    with pytest.raises(ValueError, match="importance must be one of"):
        ContinualImportance(importance="magnitude")
    with pytest.raises(ValueError, match="gradient_weight must be"):
        ContinualImportance(-0.5)


def test_the_gauss_newton_diagonal_is_the_hessian_of_a_linear_model(device):
    generator = torch.Generator().manual_seed(3)
    model = nn.Linear(3, 4, bias=False).to(device)
    x = torch.randn(11, 3, generator=generator).to(device)
    y = torch.randint(4, (11,), generator=generator).to(device)

    def loss(flat):
        return nn.functional.cross_entropy(x @ flat.reshape(4, 3).T, y)

    hessian = torch.autograd.functional.hessian(loss, model.weight.detach().flatten())
    found = gauss_newton_diagonal(model, x, ["weight"], batch_size=4)["weight"]
    assert torch.allclose(found.flatten(), hessian.diagonal(), rtol=1e-4, atol=1e-6)


def test_the_gauss_newton_diagonal_is_the_mean_square_of_gradients_under_the_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3))
    x = torch.randn(4, 3)
    wanted = torch.zeros(5, 3)
    for row in x:
        p = model(row[None]).softmax(1)[0].detach()
        for c in range(3):
            (gradient,) = torch.autograd.grad(model(row[None]).log_softmax(1)[0, c], model[0].weight)
            wanted += p[c] * gradient.square() / 4
    assert torch.allclose(gauss_newton_diagonal(model, x, ["0.weight"])["0.weight"], wanted, rtol=1e-4, atol=1e-7)


def test_unknown_names_and_no_inputs_are_refused():
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="names must be those of parameters; got other"):
        gauss_newton_diagonal(model, torch.ones(1, 2), ["weight", "other"])
    with pytest.raises(ValueError, match="inputs must have at least 1 row"):
        gauss_newton_diagonal(model, torch.ones(0, 2), ["weight"])
