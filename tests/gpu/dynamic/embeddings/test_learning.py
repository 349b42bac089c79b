import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.report.taxonomy import taxonomy_of
from sparsetheory.gpu.core.schedules import Cosine
from sparsetheory.gpu.dynamic.embeddings.learning import DynamicEmbeddings
from sparsetheory.gpu.dynamic.embeddings.pairwise import MatrixFactorisation, TripleSampler, bpr_loss
from sparsetheory.gpu.dynamic.embeddings.sparse_embedding import SparseEmbedding


def _observed(n_users=20, n_items=15):
    return torch.rand(n_users, n_items, generator=torch.Generator().manual_seed(3)) < 0.3


def _run(n_steps=40, budget="table", kind=torch.optim.Adam, device="cpu", at_step=None, **options):
    observed = _observed().to(device)
    model = MatrixFactorisation(20, 15, 8, 0.4, generator=0).to(device)
    optimizer = kind(model.parameters(), lr=0.05)
    controller = DynamicEmbeddings(
        [model.users, model.items], optimizer, Cosine(0.3, n_steps), 4, budget=budget, **options
    )
    sampler = TripleSampler(observed, generator=1)
    for _ in range(n_steps):
        users, positives, negatives = sampler(32)
        optimizer.zero_grad()
        bpr_loss(model(users, positives), model(users, negatives)).backward()
        optimizer.step()
        if at_step is not None:
            at_step(model, optimizer)
    return model, controller


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("budget", ["table", "global"])
def test_counts_are_constant_at_every_step_and_weights_and_moments_zero_off_the_masks(kind, budget, device):
    counts = []

    def at_step(model, optimizer):
        counts.append([int(table.mask.sum()) for table in (model.users, model.items)])
        for table in (model.users, model.items):
            kept = [table.weight, *(v for v in optimizer.state[table.weight].values() if getattr(v, "ndim", 0) == 2)]
            assert all(not bool(values[~table.mask].any()) for values in kept)

    model, controller = _run(budget=budget, kind=kind, device=device, at_step=at_step)
    assert {sum(pair) for pair in counts} == {64 + 48}
    assert (len({tuple(pair) for pair in counts}) == 1) == (budget == "table")
    assert len(controller.history) > 5
    found = taxonomy_of(controller.trajectory)
    assert found.kind == "during/dynamic"
    assert found.explored > 0.4
    assert controller.n_empty_rows_ == sum(int((t.mask.sum(1) == 0).sum()) for t in (model.users, model.items))


def test_the_padding_row_never_grows():
    # With equal scores everywhere the lowest indices grow, so that the row of the padding would be the first.
    table = SparseEmbedding(5, 4, 0.5, padding_idx=0, generator=0)
    optimizer = torch.optim.SGD([table.weight], lr=1e-3)
    DynamicEmbeddings([table], optimizer, 0.9, 1, grow=lambda snapshot: torch.zeros_like(snapshot.weight))
    for _ in range(5):
        optimizer.zero_grad()
        table.weight.square().sum().backward()
        optimizer.step()
        assert table.row_nonzeros[0] == 0
        assert not bool(table.weight[0].any())
        assert int(table.mask.sum()) == 8
    assert table.n_empty_rows_ == int((table.row_nonzeros[1:] == 0).sum()) > 0


def test_rows_that_no_batch_touches_keep_their_bits_unless_they_are_dropped():
    table = SparseEmbedding(6, 8, 0.5, generator=0)
    before, mask = table.weight.detach().clone(), table.mask.clone()
    optimizer = torch.optim.Adam([table.weight], lr=0.05)
    DynamicEmbeddings([table], optimizer, 0.3, 2)
    for _ in range(10):
        optimizer.zero_grad()
        table(torch.tensor([0, 1, 2])).sum().backward()
        optimizer.step()
    unseen = slice(3, 6)
    kept = table.mask[unseen]
    assert torch.equal(table.weight[unseen][kept], before[unseen][kept])
    assert not bool((kept & ~mask[unseen]).any())
    assert int(kept.sum()) < int(mask[unseen].sum())


def test_an_empty_row_can_grow_again():
    table = SparseEmbedding(3, 4, 0.5)
    table.set_rows(torch.tensor([[0.0] * 4, [1.0, 1.0, 0.1, 0.0], [1.0, 1.0, 0.2, 0.0]]))
    optimizer = torch.optim.SGD([table.weight], lr=1e-6)
    controller = DynamicEmbeddings([table], optimizer, 0.2, 1)
    assert controller.n_empty_rows_ == 1
    table(torch.tensor([0])).sum().backward()
    optimizer.step()
    assert controller.n_empty_rows_ == 0
    assert table.row_nonzeros.tolist() == [1, 2, 3]


def test_a_run_continues_from_its_state():
    whole, _ = _run(n_steps=20)
    observed, sampler = _observed(), None
    states = []
    for part in range(2):
        model = MatrixFactorisation(20, 15, 8, 0.4, generator=part)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        controller = DynamicEmbeddings([model.users, model.items], optimizer, Cosine(0.3, 20), 4)
        sampler = sampler or TripleSampler(observed, generator=1)
        if states:
            for target, state in zip((model, optimizer, controller), states, strict=True):
                target.load_state_dict(state)
        for _ in range(10):
            users, positives, negatives = sampler(32)
            optimizer.zero_grad()
            bpr_loss(model(users, positives), model(users, negatives)).backward()
            optimizer.step()
        states = [target.state_dict() for target in (model, optimizer, controller)]
    assert torch.equal(model.scores(), whole.scores())
    assert torch.equal(model.items.mask, whole.items.mask)


def test_sparse_gradients_are_refused_at_once():
    table = SparseEmbedding(5, 4, 0.5, generator=0)
    optimizer = torch.optim.Adam([table.weight])
    table.sparse = True
    with pytest.raises(ValueError, match="tables must have dense gradients; number 0 has sparse=True"):
        DynamicEmbeddings([table], optimizer, 0.3, 2)
    table.sparse = False
    DynamicEmbeddings([table], optimizer, 0.3, 2)
    # A table that becomes sparse later is refused in the step.
    table.sparse = True
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="gradients must be dense"):
        optimizer.step()


def _sharing(table):
    other = SparseEmbedding(5, 4, 0.5, generator=1)
    other.weight = table.weight
    return other


def test_bad_tables():
    table = SparseEmbedding(5, 4, 0.5, generator=0)
    optimizer = torch.optim.SGD([table.weight], lr=0.1)
    for tables, words in (
        ([], "at least one table"),
        ([table, table], "each once"),
        ([nn.Embedding(5, 4)], "number 0 is Embedding"),
        (table, "tables must be a sequence of SparseEmbedding; got one SparseEmbedding"),
        ([table, _sharing(table)], "number 1 shares that of an earlier one"),
        ([SparseEmbedding(5, 4, 0.5)], "masks must be given for parameters of the optimiser"),
    ):
        with pytest.raises(ValueError, match=words):
            DynamicEmbeddings(tables, optimizer, 0.3, 2)
    with pytest.raises(ValueError, match="budget must be one of 'table', 'global'"):
        DynamicEmbeddings([table], optimizer, 0.3, 2, budget="tensor")
    with pytest.raises(ValueError, match="every must be"):
        DynamicEmbeddings([table], optimizer, 0.3, 0)
    assert not optimizer._optimizer_step_pre_hooks
