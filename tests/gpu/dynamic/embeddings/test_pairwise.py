import pytest
import torch

from sparsetheory.gpu.dynamic.embeddings.pairwise import MatrixFactorisation, TripleSampler, bpr_loss


def test_scores_are_inner_products_of_rows(device):
    model = MatrixFactorisation(4, 6, 8, 0.5, generator=0).to(device)
    users, items = torch.tensor([[0, 1], [3, 3]], device=device), torch.tensor([[5, 0], [2, 2]], device=device)
    tables = model.users.weight.detach(), model.items.weight.detach()
    by_hand = [
        [float(tables[0][u] @ tables[1][i]) for u, i in zip(*pair, strict=True)]
        for pair in zip(users.tolist(), items.tolist(), strict=True)
    ]
    torch.testing.assert_close(model(users, items), torch.tensor(by_hand, device=device))
    torch.testing.assert_close(model.scores()[users, items], model(users, items).detach())
    assert not model.scores().requires_grad
    assert [int(table.mask.sum()) for table in (model.users, model.items)] == [16, 24]


def test_the_loss_and_its_gradient():
    positive = torch.tensor([1.0, -2.0, 300.0, -300.0], dtype=torch.float64, requires_grad=True)
    negative = torch.tensor([0.5, 1.0, 0.0, 0.0], dtype=torch.float64)
    loss = bpr_loss(positive, negative)
    differences = (positive.detach() - negative).tolist()
    by_hand = [torch.log1p(torch.exp(torch.tensor(-d, dtype=torch.float64))) if d > -100 else -d for d in differences]
    assert float(loss.detach()) == pytest.approx(float(sum(by_hand)) / 4, rel=1e-12)
    loss.backward()
    torch.testing.assert_close(positive.grad, -torch.sigmoid(negative - positive.detach()) / 4)


def test_triples_are_uniform_over_pairs_and_over_items_that_a_user_does_not_have():
    observed = torch.tensor([[True, True, True, False, False], [False, True, False, False, False]])
    users, positives, negatives = TripleSampler(observed, generator=0)(40_000)
    assert bool(observed[users, positives].all())
    assert not bool(observed[users, negatives].any())
    pairs = torch.bincount(users * 5 + positives, minlength=10) / 40_000
    assert torch.equal(pairs > 0, observed.flatten())
    # Standard deviations are at most 0.0025 and 0.005.
    assert bool((pairs[observed.flatten()] - 0.25).abs().max() < 0.013)
    others = torch.bincount(negatives[users == 1], minlength=5) / int((users == 1).sum())
    assert bool((others[[0, 2, 3, 4]] - 0.25).abs().max() < 0.025)


def test_a_user_with_all_items_but_one_is_no_endless_search():
    observed = torch.ones(3, 400, dtype=torch.bool)
    observed[:, 7] = False
    assert TripleSampler(observed, generator=0)(50)[2].tolist() == [7] * 50
    observed[1, 7] = True
    with pytest.raises(ValueError, match="user 1 has all"):
        TripleSampler(observed)
    with pytest.raises(ValueError, match="observed must be a matrix with a pair"):
        TripleSampler(torch.zeros(3, 4, dtype=torch.bool))
    with pytest.raises(TypeError, match="observed must be a tensor of bool"):
        TripleSampler(torch.ones(3, 4))


def test_draws_follow_the_seed(device):
    observed = torch.eye(5, dtype=torch.bool, device=device)
    draws = [torch.stack(TripleSampler(observed, generator=4)(20)) for _ in range(2)]
    assert torch.equal(*draws)
    assert draws[0].device.type == device


def test_scores_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"must have one shape.* got \(3,\) and \(3, 1\)"):
        bpr_loss(torch.zeros(3), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="and an entry"):
        bpr_loss(torch.zeros(0), torch.zeros(0))
