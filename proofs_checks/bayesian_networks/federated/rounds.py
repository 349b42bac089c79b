"""Claims about rounds of decentralised network Turbo-VBI: what equals central training, and what messages leave out."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import bayesian, core
from sparsetheory.gpu.core import models
from sparsetheory.proofs_checks.bayesian_networks.federated.linear import ours
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.verdicts import Always

# Known precisions for one round, then rates that fall for two.
_WARMUP, _ANNEAL = 1, 2


@dataclass(frozen=True)
class _Split:
    """A small network, and clients with unequal numbers of rows.

    Parameters
    ----------
    sizes : tuple of int
        Rows of each client.
    structure : str
        As in NetworkTurboVBI.
    n_rounds, n_steps : int
        Rounds, and steps of each client in one.
    average : str
        As in FederatedTurboVBI.
    seed : int
        Of data, initial values and noise, each with a stream of its own.
    """

    sizes: tuple[int, ...]
    structure: str
    n_rounds: int
    n_steps: int
    average: str
    seed: int

    @property
    def numbers(self) -> list[int]:
        """Seeds of initial values and of noise."""
        return [int(number) for number in np.random.default_rng([self.seed, 1]).integers(2**31, size=2)]

    def data(self, dtype: Any) -> list[tuple[Any, Any]]:
        """Rows and labels of each client."""
        import torch

        rng = np.random.default_rng(self.seed)
        found = []
        for size in self.sizes:
            x = rng.standard_normal((size, 5)) + rng.standard_normal(5)
            found.append((torch.tensor(x, dtype=dtype), torch.from_numpy(rng.integers(3, size=size))))
        return found

    def model(self, dtype: Any) -> Any:
        """Return a network at its start."""
        start = self.numbers[0]
        made = bayesian.bayesianise(models.MLP([5, 4, 3]), 1.0, mu_std=0.4, sigma_init=(0.1, 0.0), generator=start)
        return made.to(dtype)

    def server(self, dtype: Any, **options: Any) -> Any:
        """Return a server at its start."""
        arguments = {
            "n_samples": sum(self.sizes),
            "warmup_rounds": _WARMUP,
            "anneal_rounds": _ANNEAL,
            "drop_below": 0.0,
            "prior": self.structure,
            "off_rate_ratio": 1e-2,
            "average": self.average,
        }
        return bayesian.FederatedTurboVBI(self.model(dtype), **{**arguments, **options})


def _splits(most_clients: int, steps: Sequence[int], averages: Sequence[str]) -> st.SearchStrategy[_Split]:
    return st.builds(
        _Split,
        st.lists(st.integers(1, 9), min_size=min(2, most_clients), max_size=most_clients).map(tuple),
        st.sampled_from(["iid", "chain_rows", "chain_columns", "group_outputs"]),
        st.integers(1, 4),
        st.sampled_from(list(steps)),
        st.sampled_from(list(averages)),
        st.integers(0, 2**31),
    )


def _loss(penalty: Callable[[], Any]) -> Callable[[Any, Any], Any]:
    return lambda output, labels: core.class_loss(output, labels) + penalty()


def _distance(first: Any, second: Any) -> Measurement:
    """Compare parameters and probabilities of two learners, in units of the largest parameter."""
    pairs = list(zip(first.model.parameters(), second.model.parameters(), strict=True))
    errors = [float((one - other).detach().abs().max()) for one, other in pairs]
    errors += [
        float(np.abs(prior.probability - second.turbo.priors[name].probability).max())
        for name, prior in first.turbo.priors.items()
    ]
    return Measurement(max(errors), 0.0, max(1.0, *(float(one.detach().abs().max()) for one, _ in pairs)))


@dataclass(frozen=True)
class _Central:
    """A model with its prior, trained on all rows."""

    model: Any
    turbo: Any


def _train_centrally(split: _Split, x: Any, y: Any, optimizer_of: Callable[[Any], Any], sampling: str) -> _Central:
    """Train on all rows, with an update of the supports after as many steps as a round has."""
    model = split.model(x.dtype)
    optimizer = optimizer_of(model)
    turbo = bayesian.NetworkTurboVBI(
        model,
        optimizer,
        n_samples=len(x),
        warmup_steps=_WARMUP * split.n_steps,
        anneal_steps=_ANNEAL * split.n_steps,
        update_every=split.n_steps,
        prior=split.structure,
        off_rate_ratio=1e-2,
    )
    for number in range(split.n_rounds):
        with bayesian.sampling(model, sampling, split.numbers[1] + number):
            core.train(model, x, y, optimizer=optimizer, n_steps=split.n_steps, loss=_loss(turbo.penalty))
    return _Central(model, turbo)


def _train_in_rounds(
    split: _Split,
    dtype: Any,
    optimizer_of: Callable[[Any], Any],
    sampling: str,
    server: Any,
    says: Callable[[int], int],
) -> None:
    """Train in rounds with clients that say how many rows they have."""
    data = split.data(dtype)
    clients = [server.client(says(len(x))) for x, _ in data]
    optimizers = [optimizer_of(client.model) for client in clients]
    for number in range(split.n_rounds):
        message, answers = server.message(), []
        for client, optimizer, (x, y) in zip(clients, optimizers, data, strict=True):
            client.receive(message)
            # All clients draw the same weights, so that their gradients are parts of one.
            with bayesian.sampling(client.model, sampling, split.numbers[1] + number):
                loss = _loss(client.penalty)
                core.train(client.model, x, y, optimizer=optimizer, n_steps=split.n_steps, loss=loss)
            answers.append(client.message())
        server.receive(answers)


def _quietly(found: Callable[[], Measurement]) -> Measurement:
    """Measure without warnings of an annealing that is too short for any deviation."""
    import warnings

    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return found()


def _one_client(split: _Split, **options: Any) -> Measurement:
    """Train by Adam with one client and centrally, in single precision."""
    import torch

    def adam(model: Any) -> Any:
        return torch.optim.Adam(model.parameters(), lr=0.05)

    server = split.server(torch.float32, **options)
    _train_in_rounds(split, torch.float32, adam, "local", server, lambda size: size)
    ((x, y),) = split.data(torch.float32)
    return _distance(server, _train_centrally(split, x, y, adam, "local"))


single_client = Claim(
    name="bayesian_networks.single_client",
    summary="With one client, any optimiser and any number of local steps, rounds are central training, bit by bit.",
    statement=r"K = 1: \quad (\mu_t, \varrho_t, q_t(s)) \text{ are those of central Turbo-VBI}",
    source=ours("one client"),
    verdict=Always(0.0),
    instances=lambda: _splits(1, (1, 3), ["parameters"]),
    evaluate=lambda split: _quietly(lambda: _one_client(split)),
    near_miss=lambda split: _quietly(lambda: _one_client(split, warmup_rounds=0)),
)


def _gradient_steps(split: _Split, says: Callable[[int], int]) -> Measurement:
    """Take one step of gradient descent in each round, and centrally."""
    import torch

    def descent(model: Any) -> Any:
        return torch.optim.SGD(model.parameters(), lr=0.02)

    server = split.server(torch.float64)
    _train_in_rounds(split, torch.float64, descent, "weights", server, says)
    x, y = (torch.cat(parts) for parts in zip(*split.data(torch.float64), strict=True))
    return _distance(server, _train_centrally(split, x, y, descent, "weights"))


averaged_steps = Claim(
    name="bayesian_networks.averaged_steps",
    summary="One gradient step of each client per round, averaged by numbers of rows, is one step on all rows.",
    statement=r"\sum_k \tfrac{n_k}{n} \left(\theta - \eta \nabla L_k(\theta)\right) = \theta - \eta \nabla L(\theta), "
    r"\quad L_k = \overline{\mathrm{NLL}}_k + \mathrm{KL} / n",
    source=ours("averages of single steps"),
    verdict=Always(1e-9),
    instances=lambda: _splits(3, (1,), ["parameters"]),
    evaluate=lambda split: _quietly(lambda: _gradient_steps(split, lambda size: size)),
    near_miss=lambda split: _quietly(lambda: _gradient_steps(split, lambda size: 1)),
)


def _summed_losses(split: _Split, known: Callable[[int], int]) -> Measurement:
    """Add the losses of clients in nats, at any weights, and compare with the loss of all rows and the divergence."""
    import torch

    server = split.server(torch.float64)
    server.turbo.n_steps = _WARMUP + 1
    server.turbo.update()
    data, total = split.data(torch.float64), torch.zeros((), dtype=torch.float64)
    with torch.no_grad(), bayesian.sampling(server.model, "mean"):
        for x, y in data:
            client = split.server(torch.float64, n_samples=known(len(x))).client(len(x))
            client.receive(server.message())
            total = total + len(x) * (core.class_loss(server.model(x), y) + client.penalty())
        x, y = (torch.cat(parts) for parts in zip(*data, strict=True))
        central = len(x) * core.class_loss(server.model(x), y) + server.turbo.kl()
    return Measurement(float((total - central).abs()), 0.0, float(central.abs()) + 100.0)


divergence_once = Claim(
    name="bayesian_networks.divergence_once",
    summary="The losses of clients add up to the central loss, with the divergence from the prior once.",
    statement=r"\sum_k n_k \left(\overline{\mathrm{NLL}}_k + \tfrac{1}{n} \mathrm{KL}\right) = "
    r"\sum_k \mathrm{NLL}_k + \mathrm{KL}",
    source=ours("the divergence shared among clients"),
    verdict=Always(1e-10),
    instances=lambda: _splits(4, (1,), ["parameters"]),
    evaluate=lambda split: _quietly(lambda: _summed_losses(split, lambda size: sum(split.sizes))),
    near_miss=lambda split: _quietly(lambda: _summed_losses(split, lambda size: size)),
)


def _after_absence(split: _Split, update: bool) -> Measurement:
    """Let one client stay away to the end, and compare what it then takes over with model and prior of the server."""
    import torch

    server = split.server(torch.float32, drop_below=0.2)
    away = server.client(1)
    _train_in_rounds(
        split,
        torch.float32,
        lambda model: torch.optim.Adam(model.parameters(), lr=0.2),
        "local",
        server,
        lambda size: size,
    )
    before = {name: copy.copy(prior.factors) for name, prior in away.turbo.priors.items()}
    away.receive(server.message())
    if not update:
        for name, factors in before.items():
            away.turbo.priors[name].factors = factors
    errors = [_distance(server, away).measured]
    for name, prior in server.turbo.priors.items():
        ratio = away.turbo.priors[name].expected_precisions / prior.expected_precisions
        errors.append(float(np.abs(ratio - 1).max()))
    same = away.turbo.masks() == server.turbo.masks()
    return Measurement(max(errors), 0.0, 1.0).and_chain({"other masks": float(not same), "none": 0.0})


returning_clients = Claim(
    name="bayesian_networks.returning_clients",
    summary="One message brings a client that was away to the weights, the supports and the precisions of the server.",
    statement=r"(\mu, \sigma)_{\text{on}}, t \mapsto \langle\rho\rangle, q(s) \text{ exactly, without the past}",
    source=ours("precisions from weights that are on"),
    verdict=Always(0.0),
    instances=lambda: _splits(2, (1, 3), ["parameters", "natural"]),
    evaluate=lambda split: _quietly(lambda: _after_absence(split, True)),
    near_miss=lambda split: _quietly(lambda: _after_absence(split, False)),
)
