"""Clients that hold parts of a set of pictures train one network, in rounds."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sparsetheory.gpu import bayesian, core
from sparsetheory.gpu.core import models
from sparsetheory.proofs_checks.bayesian_networks.turbo.digits import Pixels, pixels
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["FederatedArm", "FederatedRun", "run_federated", "split_rows"]

_BATCH, _HIDDEN = 128, {"digits": (100, 50), "MNIST": (50,)}
# Of the shares that clients have of each label: the smaller, the fewer labels a client sees.
_CONCENTRATION = 0.3


@dataclass(frozen=True)
class FederatedArm:
    """How clients train.

    Parameters
    ----------
    seed : int
        Of the data, their split among clients, initial values, batches and noise.
    pictures : str
        "digits" or "MNIST".
    skewed : bool
        Whether clients have other shares of each label and other numbers of rows, or random rows.
    average : str
        As in FederatedTurboVBI; "dense" for plain networks, whose weights are averaged.
    participation : float
        Probability that a client takes part in a round.
    n_rounds, warmup_rounds, anneal_rounds, n_steps : int
        Rounds, those with known precisions, those of the annealing, and steps of a client in a round.
    drop_below, temperature : float
        As in FederatedTurboVBI.
    n_clients : int
        Clients.
    """

    seed: int
    pictures: str = "digits"
    skewed: bool = False
    average: str = "natural"
    participation: float = 1.0
    n_rounds: int = 60
    warmup_rounds: int = 10
    anneal_rounds: int = 25
    n_steps: int = 11
    drop_below: float = 0.05
    temperature: float = 1.0
    n_clients: int = 5


@dataclass(frozen=True, eq=False)
class FederatedRun:
    """What a run did.

    Parameters
    ----------
    accuracy : float
        Of the exported network on test pictures.
    density : float
        Share of weights that it has.
    path : ndarray of float64 of shape (n_rounds, 4)
        After each round: accuracy of the means of the server, share of weights that are sent, and bytes that a client
        has received and sent in this round.
    """

    accuracy: float
    density: float
    path: Float64Array

    @property
    def n_bytes(self) -> float:
        """Bytes of all rounds for a client that takes part in all."""
        return float(self.path[:, 2:].sum())


def split_rows(labels: Any, arm: FederatedArm) -> list[IndexArray]:
    """Return the rows of each client."""
    rng = np.random.default_rng([arm.seed, 4])
    if not arm.skewed:
        return list(np.array_split(rng.permutation(len(labels)), arm.n_clients))
    parts: list[list[IndexArray]] = [[] for _ in range(arm.n_clients)]
    for label in range(10):
        rows = rng.permutation(np.flatnonzero(np.asarray(labels) == label))
        shares = rng.dirichlet(np.full(arm.n_clients, _CONCENTRATION))
        cuts = np.split(rows, (np.cumsum(shares)[:-1] * len(rows)).astype(int))
        for part, cut in zip(parts, cuts, strict=True):
            part.append(cut)
    found = [np.concatenate(part) for part in parts]
    return [rows for rows in found if rows.size]


class _DenseServer:
    """Federated averaging of plain networks, with the messages of the Bayesian ones."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.round = 0
        self.density = 1.0

    def message(self) -> Any:
        values = {name: value.detach().flatten().clone() for name, value in self.model.named_parameters()}
        return bayesian.ServerMessage(self.round, values, {})

    def receive(self, answers: list[Any]) -> None:
        mean = bayesian.merge_messages(answers).mean()
        _load(self.model, mean)
        self.round += 1

    def export(self) -> Any:
        return self.model

    def client(self, n_samples: int) -> Any:
        return _DenseClient(self.model, n_samples)


class _DenseClient:
    def __init__(self, model: Any, n_samples: int) -> None:
        import copy

        self.model, self.n_samples = copy.deepcopy(model), n_samples

    def receive(self, message: Any) -> None:
        self.round = message.round
        _load(self.model, message.values)

    def penalty(self) -> float:
        return 0.0

    def message(self) -> Any:
        values = {name: value.detach().flatten().clone() for name, value in self.model.named_parameters()}
        return bayesian.ClientMessage(self.round, self.n_samples, values)


def _load(model: Any, values: Any) -> None:
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values[name].reshape(parameter.shape))


def _server(arm: FederatedArm, data: Pixels, start: int) -> Any:
    widths = [data.x.shape[1], *_HIDDEN[arm.pictures], 10]
    if arm.average == "dense":
        return _DenseServer(models.MLP(widths, generator=start))
    model = bayesian.bayesianise(models.MLP(widths), 1.0, mu_std="fan_in", sigma_init=(0.05, 0.0), generator=start)
    return bayesian.FederatedTurboVBI(
        model,
        n_samples=len(data.x),
        warmup_rounds=arm.warmup_rounds,
        anneal_rounds=arm.anneal_rounds,
        drop_below=arm.drop_below,
        average=arm.average,
        temperature=arm.temperature,
    )


def _train(client: Any, x: Any, y: Any, n_steps: int, seeds: Any) -> None:
    """Train one client by Adam, whose averages start anew in each round."""
    import torch

    named = list(client.model.named_parameters())
    groups = [
        {"params": [value for name, value in named if not name.endswith("rho")], "lr": 0.01},
        {"params": [value for name, value in named if name.endswith("rho")], "lr": 0.05},
    ]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]])
    order, noise = (int(number) for number in seeds)

    def loss(output: Any, labels: Any) -> Any:
        return core.class_loss(output, labels) + client.penalty()

    with bayesian.sampling(client.model, "local", noise):
        core.train(
            client.model,
            x,
            y,
            optimizer=optimizer,
            n_steps=n_steps,
            batch_size=_BATCH,
            loss=loss,
            generator=order,
        )


@lru_cache(maxsize=64)
def run_federated(arm: FederatedArm) -> FederatedRun:
    """Train in rounds, and test the exported network."""
    import torch

    data, rng = pixels(arm.pictures, arm.seed, False), np.random.default_rng([arm.seed, 5])
    server = _server(arm, data, int(rng.integers(2**31)))
    parts = [torch.from_numpy(rows) for rows in split_rows(data.y, arm)]
    clients = [(server.client(len(rows)), data.x[rows], data.y[rows]) for rows in parts]
    path = []
    with one_thread():
        for _ in range(arm.n_rounds):
            message, answers = server.message(), []
            present = rng.random(len(clients)) < arm.participation
            present[rng.integers(len(clients))] = True
            for (client, x, y), here in zip(clients, present, strict=True):
                seeds = rng.integers(2**31, size=2)
                if here:
                    client.receive(message)
                    _train(client, x, y, arm.n_steps, seeds)
                    answers.append(client.message())
            server.receive(answers)
            path.append((_means_accuracy(server.model, data), server.density, message.n_bytes, answers[0].n_bytes))
        exported = server.export()
        accuracy = _accuracy(exported, data)
    weights = [value for value in exported.parameters() if value.ndim > 1]
    density = sum(int((value != 0).sum()) for value in weights) / sum(value.numel() for value in weights)
    return FederatedRun(accuracy, density, np.array(path, dtype=np.float64))


def _means_accuracy(model: Any, data: Pixels) -> float:
    with bayesian.sampling(model, "mean"):
        return _accuracy(model, data)


def _accuracy(model: Any, data: Pixels) -> float:
    import torch

    with torch.no_grad():
        return core.accuracy(model(data.x_test), data.y_test)
