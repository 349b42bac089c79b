"""Decentralised Turbo-VBI: clients keep their data, the server keeps the prior, and messages hold what is on."""

import copy
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sparsetheory.constraints import COUNT, SIZE, Real
from sparsetheory.gpu.bayesian.federated.messages import (
    AVERAGE,
    ClientMessage,
    MessageSum,
    ServerMessage,
    merge_messages,
)
from sparsetheory.gpu.bayesian.federated.replica import Replica
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.bayesian.turbo.network import NetworkTurboVBI

__all__ = ["FederatedClient", "FederatedRound", "FederatedTurboVBI"]

_THRESHOLD = Real(0.0, 0.5)


@dataclass(frozen=True)
class FederatedRound:
    """One round, as the server saw it.

    Parameters
    ----------
    round : int
        Number of the round, from 1.
    n_clients : int
        Clients that answered.
    n_samples : int
        Rows that they have.
    density : float
        Share of the weights of Bayesian layers that the next message will hold.
    """

    round: int
    n_clients: int
    n_samples: int
    density: float


class FederatedClient:
    """One holder of data in decentralised Turbo-VBI.

    In a round it reads the message of the server, trains its model with any loop and any optimiser by the mean negative
    log-likelihood of its own rows plus :meth:`penalty`, and answers. Whatever rounds it has missed, one message brings
    it up to date.

    Parameters
    ----------
    replica : Replica
        Of its own, see :meth:`FederatedTurboVBI.client`.
    n_samples : int
        Its rows.

    Attributes
    ----------
    model : torch.nn.Module
    n_samples : int
    """

    def __init__(self, replica: Replica, n_samples: int) -> None:
        self.n_samples = COUNT.check("n_samples", n_samples)
        self.model = replica.model
        self._replica = replica

    @property
    def turbo(self) -> NetworkTurboVBI:
        """The prior, as it is in the present round."""
        return self._replica.turbo

    def receive(self, message: ServerMessage) -> None:
        """Start a round: bring model, supports and precisions to those of the server.

        Raises
        ------
        ValueError
            If the message is that of another model, or holds numbers that are not finite. Nothing is changed then.
        """
        self._replica.start_round(message.round, message.supports, message.values)

    def penalty(self) -> Tensor:
        """Return the divergence from the prior over the rows of all clients, for a loss in units of one sample.

        Averaged with the numbers of samples as weights, the losses of all clients have the divergence once.
        """
        return self._replica.turbo.penalty()

    def message(self) -> ClientMessage:
        """Return what the client has learned since the last message of the server."""
        return ClientMessage(self._replica.round, self.n_samples, self._replica.values())


class FederatedTurboVBI:
    r"""The server of decentralised Turbo-VBI: a network compressed while it is trained on data that stay with clients.

    The objective is that of the central :class:`NetworkTurboVBI` on the rows of all clients,

    .. math:: \sum_k \mathrm{NLL}_k + T \, \mathrm{KL} = \sum_k \left(\mathrm{NLL}_k + \tfrac{n_k}{n} T \, \mathrm{KL}
        \right).

    The server averages what clients have learned, sets the factors of precisions and states to the best ones, and drops
    weights that are surely off: they are neither trained nor sent. Precisions are not sent either, since they follow
    from the weights. States never see their own posterior again: each round computes them anew from the weights.

    Parameters
    ----------
    model : torch.nn.Module
        With normal weights from :func:`bayesianise`, at density 1; becomes the model of the server.
    n_samples : int
        Rows of all clients together.
    warmup_rounds, anneal_rounds : int
        Rounds with known precisions, and rounds in which the law of weights that are off moves away.
    drop_below : float
        Weights whose probability of being on is at most this, in [0, 0.5], are dropped after the warm-up; 0 drops none.
        A weight that was dropped comes back if its neighbours raise its probability above it.
    average : {"parameters", "natural"}
        How messages are averaged, see :class:`MessageSum`. "parameters" is exact for one step of gradient descent per
        round, "natural" for clients that reach their optimum on a linear model with orthogonal columns. On pictures
        "natural" was as good with random rows, and better by far where clients saw different labels.
    **options : object
        `prior`, `activation`, `deactivation`, `on_shape`, `on_rate`, `off_shape`, `off_rate_ratio`, `temperature` and
        `grids` of :class:`NetworkTurboVBI`. The structures are independent states and chains, whose factors follow from
        the weights; grids with iterations are refused.

    Attributes
    ----------
    model : torch.nn.Module
        The average of the last round.
    history : list of FederatedRound

    Raises
    ------
    ValueError
        If the model has no normal weights, or an argument is out of its range.

    Warns
    -----
    RuntimeWarning
        At the end of the annealing, if every weight of a layer is on.

    Notes
    -----
    During the annealing the deviations have to follow the law of weights that are off: with Adam, learning rates of
    `rho` that add up to ``ln(1 / off_rate_ratio)`` at each client. Few steps in a round with a usual learning rate
    can leave every weight on. Each round is one update of the supports, and an annealing of few rounds lets chains fill
    up.

    The idea of clients that train a network under a prior of clustered supports at a server is that of Xia, Tsang and
    Lau, "Bayesian federated model compression for communication and computation efficiency", arXiv:2404.07532, whose
    updates are others: posteriors are sent and fed back there. A merge costs O(1) per weight sent.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.bayesian import bayesianise
    >>> from sparsetheory.gpu.core import class_loss, train
    >>> from sparsetheory.gpu.core.models import MLP
    >>> x = torch.randn(400, 20, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 4:8].sum(1) > 0).long()
    >>> model = bayesianise(MLP([20, 8, 2]), 1.0, mu_std=0.2, sigma_init=(0.05, 0.0), generator=1)
    >>> server = FederatedTurboVBI(model, n_samples=400, warmup_rounds=4, anneal_rounds=12, prior="iid")
    >>> clients = [server.client(300), server.client(100)]
    >>> data = [(x[:300], y[:300]), (x[300:], y[300:])]
    >>> adams = []
    >>> for client in clients:
    ...     named = list(client.model.named_parameters())
    ...     rho = [p for name, p in named if name.endswith("rho")]
    ...     rest = [p for name, p in named if not name.endswith("rho")]
    ...     adams.append(torch.optim.Adam([{"params": rest}, {"params": rho, "lr": 0.05}], lr=0.01))
    >>> for _ in range(20):
    ...     down, answers = server.message(), []
    ...     for client, (inputs, labels), adam in zip(clients, data, adams):
    ...         client.receive(down)
    ...         loss = lambda output, targets: class_loss(output, targets) + client.penalty()
    ...         run = train(client.model, inputs, labels, optimizer=adam, n_steps=15, batch_size=100, loss=loss)
    ...         answers.append(client.message())
    ...     done = server.receive(answers)
    >>> found = server.export()
    >>> bool((found[0].weight != 0).float().mean() < 0.6), done.round
    (True, 20)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        n_samples: int,
        warmup_rounds: int,
        anneal_rounds: int,
        drop_below: float = 0.05,
        average: str = "parameters",
        **options: Any,
    ) -> None:
        self._settings = {
            "n_samples": COUNT.check("n_samples", n_samples),
            "warmup_rounds": SIZE.check("warmup_rounds", warmup_rounds),
            "anneal_rounds": COUNT.check("anneal_rounds", anneal_rounds),
            "options": options,
        }
        self._drop_below = _THRESHOLD.check("drop_below", drop_below)
        self._average = AVERAGE.check("average", average)
        self._replica = Replica(model, **self._settings)
        self.model = model
        self.history: list[FederatedRound] = []

    @property
    def turbo(self) -> NetworkTurboVBI:
        """Prior, report, certificate and masks of the model of the server."""
        return self._replica.turbo

    @property
    def round(self) -> int:
        """Rounds done so far."""
        return self._replica.round

    @property
    def supports(self) -> dict[str, Tensor]:
        """Which weights are trained and sent, by names of weights."""
        return self._replica.supports

    @property
    def density(self) -> float:
        """Share of the weights of Bayesian layers that are trained and sent."""
        masks = self.supports.values()
        return sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    def client(self, n_samples: int) -> FederatedClient:
        """Return a client with a copy of the model, which first has to receive a message.

        Parameters
        ----------
        n_samples : int
            Rows that the client has. All clients together should have those that the server was told of.
        """
        model = copy.deepcopy(self.model)
        for module in model.modules():
            if isinstance(module, VariationalLayer):
                # A prior is made for all weights; the first message says which of them are on.
                module.mask.fill_(True)
        return FederatedClient(Replica(model, **self._settings), n_samples)

    def message(self) -> ServerMessage:
        """Return what starts the next round, for all clients alike."""
        return ServerMessage(self.round, self._replica.values(), self.supports)

    def receive(self, messages: ClientMessage | MessageSum | Iterable[ClientMessage | MessageSum]) -> FederatedRound:
        """End a round: average the answers, update precisions and states, and choose the support.

        Parameters
        ----------
        messages : ClientMessage, MessageSum or iterable of them
            Of all clients that took part; others keep no one waiting.

        Returns
        -------
        FederatedRound
            Also kept in `history`.

        Raises
        ------
        ValueError
            If there is no message, or one is of another round or support. Nothing is changed then.
        """
        several = [messages] if isinstance(messages, (ClientMessage, MessageSum)) else messages
        total = merge_messages(several, average=self._average)
        if total.round != self.round:
            raise ValueError(f"messages must answer that of round {self.round}; got round {total.round}")
        self._replica.start_round(self.round + 1, self.supports, total.mean())
        if self._drop_below > 0 and self._replica.warm:
            self._replica.choose_supports(self._drop_below)
        self._warn_if_all_on()
        self.history.append(FederatedRound(self.round, total.n_messages, total.n_samples, self.density))
        return self.history[-1]

    def _warn_if_all_on(self) -> None:
        if self.round != self._settings["warmup_rounds"] + self._settings["anneal_rounds"]:
            return
        full = [name for name, mask in self.turbo.masks().items() if bool(mask.all())]
        if full:
            warnings.warn(
                f"every weight of {', '.join(full)} is on at the end of the annealing: check on_rate, and that steps "
                "of clients times the learning rate of rho let deviations follow",
                RuntimeWarning,
                stacklevel=3,
            )

    def export(self) -> nn.Module:
        """Return a plain copy of the model: means where weights are on with a probability above one half."""
        return self.turbo.export()

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue, with the model."""
        return {
            "round": self.round,
            "supports": self.supports,
            "values": self._replica.values(),
            "history": [dict(vars(one)) for one in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state, whatever the model holds.

        Raises
        ------
        ValueError
            If it is that of another model. Nothing is changed then.
        """
        history = [FederatedRound(**one) for one in state["history"]]
        self._replica.start_round(state["round"], state["supports"], state["values"])
        self.history = history
