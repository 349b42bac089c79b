"""Rounds of decentralised network Turbo-VBI: what is sent, dropped, refused and stored, and digits."""

import copy
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sparsetheory.gpu.bayesian import BayesLinear, FederatedTurboVBI, MessageSum, bayesianise, sampling
from sparsetheory.gpu.core import accuracy, class_loss, train
from sparsetheory.gpu.core.datasets import load_digits
from sparsetheory.gpu.core.models import MLP


def _model(*widths, seed=0):
    return bayesianise(MLP(widths), 1.0, mu_std="fan_in", sigma_init=(0.05, 0.0), generator=seed)


def _server(**options):
    settings = {"n_samples": 60, "warmup_rounds": 1, "anneal_rounds": 10, "prior": "iid", **options}
    return FederatedTurboVBI(_model(8, 6, 3), **settings)


def _answer(client, message, seed=0, n_steps=15):
    client.receive(message)
    draws = torch.Generator().manual_seed(100 + seed)
    x = torch.randn(20, 8, generator=draws)
    y = (x[:, 2] > 0).long()
    named = list(client.model.named_parameters())
    groups = [
        {"params": [p for name, p in named if not name.endswith("rho")], "lr": 0.02},
        {"params": [p for name, p in named if name.endswith("rho")], "lr": 0.1},
    ]
    with sampling(client.model, "local", seed):
        loss = lambda output, labels: class_loss(output, labels) + client.penalty()  # noqa: E731
        train(client.model, x, y, optimizer=torch.optim.Adam(groups), n_steps=n_steps, loss=loss)
    return client.message()


def _rounds(server, clients, n_rounds):
    for number in range(n_rounds):
        message = server.message()
        server.receive([_answer(client, message, 10 * number + k) for k, client in enumerate(clients)])


@pytest.fixture(scope="module")
def after():
    """Return a server and its clients after rounds in which weights were dropped."""
    server = _server()
    clients = [server.client(20) for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        _rounds(server, clients, 14)
    return server, clients


def test_only_weights_on_the_support_are_sent(after):
    server, clients = after
    message = server.message()
    supports = {name: mask.clone() for name, mask in server.supports.items()}
    assert 0 < server.density < 0.8
    for name, mask in supports.items():
        assert message.values[name].numel() == int(mask.sum())
        assert message.values[name.replace("weight", "rho")].numel() == int(mask.sum())
    answer = _answer(clients[0], message)
    assert {name: value.numel() for name, value in answer.values.items()} == {
        name: value.numel() for name, value in message.values.items()
    }
    dense = _server().message()
    assert message.n_bytes < server.density * dense.n_bytes + 16 + 4 * 9 + 2 + 8


def test_dropped_weights_are_zero_in_products_and_have_the_variance_of_the_off_state_in_the_divergence(after):
    server, _ = after
    for name, layer in server.model.named_modules():
        if isinstance(layer, BayesLinear):
            off = ~server.supports[f"{name}.weight"]
            prior, rate = server.turbo.priors[name], server.turbo.off_rate(name)
            assert not layer.weight[off].any()
            assert not layer.mask[off].any()
            torch.testing.assert_close(nn.functional.softplus(layer.rho[off]) ** 2, torch.full((int(off.sum()),), rate))
            # Their precision is about one over their variance, and they are off.
            precisions = torch.tensor(prior.expected_precisions)[off]
            assert (prior.probability[off.numpy()] <= 0.05 + 1e-9).all()
            torch.testing.assert_close(precisions * rate, torch.ones_like(precisions), rtol=0.06, atol=0)


def test_clients_do_not_move_what_is_dropped_and_their_masks_are_those_of_the_server(after):
    server, clients = after
    _answer(clients[1], server.message())
    for (name, mask), layer in zip(server.supports.items(), (clients[1].model[0], clients[1].model[2]), strict=True):
        assert torch.equal(layer.mask, mask), name
        assert not layer.mean[~mask].any()


def test_a_client_computes_the_precisions_of_the_server_where_weights_have_just_been_dropped():
    server = _server()
    clients = [server.client(20)]
    for _ in range(14):
        before = server.density
        _rounds(server, clients, 1)
        newcomer = server.client(40)
        newcomer.receive(server.message())
        for name, prior in server.turbo.priors.items():
            found = newcomer.turbo.priors[name].expected_precisions
            np.testing.assert_array_equal(found, prior.expected_precisions)
        if server.density < before:
            return
    raise AssertionError("no weight was dropped")


def test_export_is_the_masked_network_of_the_server(after):
    server, _ = after
    plain, masks = server.export(), server.turbo.masks()
    for name, parameter in plain.named_parameters():
        expected = server.model.get_parameter(name)
        assert torch.equal(parameter, expected * masks[name] if name in masks else expected)


def test_one_update_more_moves_nothing(after):
    server, _ = after
    assert server.turbo.certificate().check(server.model).valid


def test_nothing_is_dropped_with_a_threshold_of_zero_or_in_the_warm_up():
    warming = _server(warmup_rounds=9, drop_below=0.5, activation=0.05, deactivation=0.95)
    for server, n_rounds in ((_server(drop_below=0.0), 6), (warming, 3)):
        _rounds(server, [server.client(20)], n_rounds)
        assert server.density == 1.0
        assert server.history[-1].density == 1.0


@pytest.mark.filterwarnings("ignore:every weight")
def test_dropped_weights_come_back_when_neighbours_speak_for_them():
    server = _server(prior="chain_rows")
    _rounds(server, [server.client(20)], 12)
    message = server.message()
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[:, [0, 1, 2, 4, 5, 6, 7]] = True
    supports = {**message.supports, "0.weight": mask}
    values = {**message.values, "0.weight": torch.full((42,), 2.0), "0.rho": torch.full((42,), -4.0)}
    server.load_state_dict({"round": 12, "supports": supports, "values": values, "history": []})
    client = server.client(60)
    client.receive(server.message())
    server.receive([client.message()])
    assert server.supports["0.weight"][:, 3].all()
    assert not server.model[0].weight[:, 3].any()


def test_an_annealing_in_which_nothing_goes_off_warns_once_at_its_end():
    server = _server(anneal_rounds=2, on_rate=1e-3)
    client = server.client(60)
    server.receive([_answer(client, server.message(), n_steps=1)])
    server.receive([_answer(client, server.message(), n_steps=1)])
    with pytest.warns(RuntimeWarning, match="every weight of 0.weight, 2.weight is on at the end of the annealing"):
        server.receive([_answer(client, server.message(), n_steps=1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server.receive([_answer(client, server.message(), n_steps=1)])


def test_history_and_absent_clients():
    server = _server()
    clients = [server.client(n) for n in (20, 30, 10)]
    message = server.message()
    first = server.receive([_answer(clients[0], message), _answer(clients[2], message)])
    assert (first.round, first.n_clients, first.n_samples) == (1, 2, 30)
    second = server.receive([_answer(clients[1], server.message())])
    assert (second.round, second.n_clients, second.n_samples) == (2, 1, 30)
    assert server.history == [first, second]


def test_late_answers_and_those_of_other_models_are_refused_and_change_nothing():
    server, client = _server(), None
    client = server.client(60)
    late = _answer(client, server.message())
    server.receive([late])
    before = copy.deepcopy(server.state_dict())
    other = FederatedTurboVBI(_model(8, 5, 3), n_samples=60, warmup_rounds=1, anneal_rounds=4)
    foreign = other.message()
    with pytest.raises(ValueError, match="must answer that of round 1; got round 0"):
        server.receive([late])
    with pytest.raises(ValueError, match="at least 1; got none"):
        server.receive([])
    with pytest.raises(ValueError, match="supports must be masks"):
        client.receive(foreign)
    short = _answer(client, server.message())
    short.values["0.weight"] = short.values["0.weight"][:-1]
    with pytest.raises(ValueError, match="one number per weight on the support"):
        server.receive([short])
    after = server.state_dict()
    assert after["round"] == before["round"]
    assert all(torch.equal(value, before["values"][name]) for name, value in after["values"].items())


def _changed(message, **changes):
    return replace(message, **{name: change(getattr(message, name)) for name, change in changes.items()})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"round": lambda _: -1}, "round must be an integer from 0"),
        ({"round": lambda _: 2.0**0.5}, "round must be an integer from 0"),
        ({"values": lambda old: {**old, "0.bias": old["0.bias"] * torch.nan}}, "values must be finite; got.*0.bias"),
        ({"values": lambda old: {**old, "0.rho": old["0.rho"][:, None]}}, "one number per weight on the support"),
        ({"values": lambda old: {**old, "more": old["0.rho"]}}, "one number per weight on the support"),
        ({"values": lambda old: {**old, "0.bias": old["0.bias"].numpy()}}, "must hold tensors"),
        ({"supports": lambda old: {**old, "0.weight": old["0.weight"].float()}}, "supports must be masks"),
        ({"supports": lambda old: {**old, "0.weight": old["0.weight"].T}}, "supports must be masks"),
        ({"supports": lambda old: {"0.weight": old["0.weight"]}}, "supports must be masks"),
    ],
)
def test_messages_of_the_server_that_cannot_be_read_change_nothing(after, changes, match):
    client = _server().client(20)
    before = copy.deepcopy(client.model.state_dict())
    with pytest.raises(ValueError, match=match):
        client.receive(_changed(after[0].message(), **changes))
    assert client.message().round == 0
    assert all(torch.equal(value, before[name]) for name, value in client.model.state_dict().items())


def test_answers_of_another_shape_or_without_numbers_change_nothing():
    server = _server()
    message, before = server.client(60).message(), copy.deepcopy(server.model.state_dict())
    weight = message.values["0.weight"]
    for wrong, match in ((weight[:, None], "one number per weight"), (weight * torch.inf, "'0.weight' times samples")):
        with pytest.raises(ValueError, match=match):
            server.receive(replace(message, values={**message.values, "0.weight": wrong}))
    assert server.round == 0
    assert all(torch.equal(value, before[name]) for name, value in server.model.state_dict().items())


def test_messages_keep_what_they_were_made_of():
    server = _server()
    client, down = server.client(60), server.message()
    client.receive(down)
    up = client.message()
    before = copy.deepcopy((down, up))
    with torch.no_grad():
        for module in (server.model, client.model):
            for parameter in module.parameters():
                parameter += 1.0
            module[0].mask[:] = False
    for message, old in zip((down, up), before, strict=True):
        assert all(torch.equal(value, old.values[name]) for name, value in message.values.items())
    assert all(mask.all() for mask in down.supports.values())


@pytest.mark.parametrize("warmup", [0, 2])
def test_precisions_move_in_the_round_after_the_warm_up(warmup):
    server = _server(warmup_rounds=warmup, drop_below=0.0)
    client, start = server.client(60), server.turbo.priors["0"].expected_precisions.copy()
    for number in range(warmup + 1):
        server.receive(_answer(client, server.message(), n_steps=1))
        moved = bool((server.turbo.priors["0"].expected_precisions != start).any())
        assert moved == (number == warmup)


def test_who_goes_back_to_the_warm_up_has_known_precisions_and_drops_nothing():
    server = _server(warmup_rounds=2, drop_below=0.5)
    client, early = server.client(60), server.message()
    stored = server.state_dict()
    start = server.turbo.priors["0"].expected_precisions.copy()
    penalty = float(client.penalty().detach())
    _rounds(server, [client], 14)
    assert server.density < 1
    client.receive(early)
    server.load_state_dict(stored)
    for one in (client, server):
        np.testing.assert_array_equal(one.turbo.priors["0"].expected_precisions, start)
    assert float(client.penalty().detach()) == penalty
    assert server.receive(client.message()).density == 1.0


def test_one_message_needs_no_list():
    servers = [_server() for _ in range(3)]
    message = servers[0].client(60).message()
    for server, one in zip(servers, ([message], message, MessageSum.of(message)), strict=True):
        assert server.receive(one).n_clients == 1


@pytest.mark.parametrize("average", ["parameters", "natural"])
def test_an_empty_support_is_a_state_like_others(average):
    server = _server(average=average)
    message = server.message()
    values = {name: value if name.endswith("bias") else value[:0] for name, value in message.values.items()}
    supports = {name: torch.zeros_like(mask) for name, mask in message.supports.items()}
    server.load_state_dict({"round": 12, "supports": supports, "values": values, "history": []})
    client = server.client(60)
    client.receive(server.message())
    done = server.receive(client.message())
    assert done.density == 0.0
    assert server.turbo.certificate().check(server.model).valid
    assert not any(parameter.any() for parameter in server.export().parameters() if parameter.ndim > 1)


@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-14), (torch.bfloat16, 0.0)])
def test_types_of_numbers_are_kept(dtype, tol):
    server = FederatedTurboVBI(_model(8, 6, 3).to(dtype), n_samples=60, warmup_rounds=5, anneal_rounds=4)
    client = server.client(60)
    message = client.message()
    server.receive(message)
    for name, value in server.message().values.items():
        assert value.dtype == dtype
        torch.testing.assert_close(value, message.values[name], rtol=tol, atol=tol)


def test_a_stored_history_is_a_copy_and_a_bad_one_changes_nothing():
    server = _server()
    server.receive(server.client(60).message())
    server.state_dict()["history"][0]["density"] = 9.0
    assert server.history[0].density == 1.0
    with pytest.raises(TypeError, match="other"):
        server.load_state_dict({**server.state_dict(), "round": 7, "history": [{"other": 1}]})
    assert server.round == 1


def test_constants_that_are_not_finite_stay_with_the_copies():
    model = _model(8, 6, 3)
    model[0].register_buffer("causal", torch.full((3, 3), -torch.inf).triu(1))
    server = FederatedTurboVBI(model, n_samples=60, warmup_rounds=1, anneal_rounds=4)
    client = server.client(60)
    client.receive(server.message())
    server.receive(client.message())
    assert torch.equal(client.model[0].causal, torch.full((3, 3), -torch.inf).triu(1))
    assert torch.equal(server.model[0].causal, client.model[0].causal)


def test_a_stored_server_goes_on_with_the_same_bits():
    server = _server()
    clients = [server.client(20), server.client(40)]
    _rounds(server, clients, 3)
    again = _server()
    again.load_state_dict(copy.deepcopy(server.state_dict()))
    assert again.history == server.history
    others = [again.client(20), again.client(40)]
    _rounds(server, clients, 2)
    _rounds(again, others, 2)
    for one, other in zip(server.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    np.testing.assert_array_equal(server.turbo.priors["0"].probability, again.turbo.priors["0"].probability)


def test_buffers_of_floating_point_are_averaged():
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    bayesianise(model, 1.0, mu_std="fan_in", sigma_init=(0.05, 0.0), generator=0)
    server = FederatedTurboVBI(model, n_samples=60, warmup_rounds=9, anneal_rounds=4)
    clients = [server.client(15), server.client(45)]
    message = server.message()
    answers = [_answer(client, message, k, n_steps=3) for k, client in enumerate(clients)]
    server.receive(answers)
    means = [client.model[1].running_mean for client in clients]
    torch.testing.assert_close(server.model[1].running_mean, 0.25 * means[0] + 0.75 * means[1])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"factorisation": "meanfield"}, "options must be those of the prior.*factorisation"),
        ({"prior": "grid_belief_propagation"}, "independent states or chains"),
        ({"drop_below": 0.6}, "drop_below"),
        ({"average": "median"}, "average"),
        ({"anneal_rounds": 0}, "anneal_rounds"),
        ({"n_samples": 0}, "n_samples"),
    ],
)
def test_arguments_out_of_range_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        _server(**options)


def test_digits_among_five_clients_end_sparse_and_accurate():
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.labels))
    x, y = torch.tensor(data.images.reshape(len(order), -1)[order]), torch.tensor(data.labels[order])
    server = FederatedTurboVBI(
        _model(64, 50, 10), n_samples=1400, warmup_rounds=4, anneal_rounds=14, average="natural", prior="iid"
    )
    clients = [server.client(280) for _ in range(5)]
    n_bytes = []
    for number in range(22):
        message, answers = server.message(), []
        for k, client in enumerate(clients):
            client.receive(message)
            named = list(client.model.named_parameters())
            rest, rho = ([p for name, p in named if name.endswith("rho") is which] for which in (False, True))
            optimizer = torch.optim.Adam([{"params": rest}, {"params": rho, "lr": 0.05}], lr=0.01)
            rows = slice(280 * k, 280 * (k + 1))
            with sampling(client.model, "local", 100 * number + k), warnings.catch_warnings():
                warnings.simplefilter("error")
                loss = lambda output, labels, client=client: class_loss(output, labels) + client.penalty()  # noqa: E731
                train(client.model, x[rows], y[rows], optimizer=optimizer, n_steps=12, batch_size=128, loss=loss)
            answers.append(client.message())
        server.receive(answers)
        n_bytes.append(answers[0].n_bytes)
    exported = server.export()
    with torch.no_grad():
        assert accuracy(exported(x[1400:]), y[1400:]) > 0.88
    assert server.turbo.masks().density < 0.2
    assert n_bytes[-1] < 0.3 * n_bytes[0]
