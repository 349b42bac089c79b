"""What clients and the server of a federated network send each other, and sums of what clients send."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, SIZE, Choice
from sparsetheory.gpu.bayesian.federated.exact_sum import exact_terms, rounded_sum
from sparsetheory.gpu.bayesian.federated.support_code import encode_support
from sparsetheory.gpu.bayesian.layers.softplus import inverse_softplus, positive

__all__ = ["AVERAGE", "ClientMessage", "MessageSum", "ServerMessage", "merge_messages"]

AVERAGE = Choice("parameters", "natural")
# The number of the round, and a number of samples.
_HEADER = 16


@dataclass(frozen=True, eq=False)
class ServerMessage:
    """The network as the server sends it to clients: the weights that are on, and which ones they are.

    Parameters
    ----------
    round : int
        Rounds done so far. With the weights it fixes the precisions, so that these need not be sent.
    values : mapping of str to Tensor of shape (n,)
        By names of parameters and buffers: entries on the support for weights and their deviations, row by row,
        all entries for others.
    supports : mapping of str to Tensor of bool
        Which weights are on, by names of weights.
    """

    round: int
    values: Mapping[str, Tensor]
    supports: Mapping[str, Tensor]

    @property
    def n_bytes(self) -> int:
        """Bytes of header, values and supports, each in the shorter code of :func:`encode_support`."""
        codes = sum(len(encode_support(mask)) for mask in self.supports.values())
        return _HEADER + _value_bytes(self.values) + codes


@dataclass(frozen=True, eq=False)
class ClientMessage:
    """What one client has learned in one round, on the support that the server has sent.

    Parameters
    ----------
    round : int
        Round of the message of the server that it answers.
    n_samples : int
        Rows of the data of the client.
    values : mapping of str to Tensor of shape (n,)
        As in the message that it answers. The support is known and is not sent back.
    """

    round: int
    n_samples: int
    values: Mapping[str, Tensor]

    @property
    def n_bytes(self) -> int:
        """Bytes of header and values."""
        return _HEADER + _value_bytes(self.values)

    def state_dict(self) -> dict[str, Any]:
        """Return numbers and tensors, to be stored."""
        return {"round": self.round, "n_samples": self.n_samples, "values": dict(self.values)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what was stored by :meth:`state_dict`."""
        return cls(int(state["round"]), int(state["n_samples"]), dict(state["values"]))


@dataclass(frozen=True, eq=False)
class MessageSum:
    r"""The sum of the messages of any number of clients of one round.

    It holds integers, so that its bits do not depend on the order in which messages arrive and partial sums are merged.
    Between processes, an all-reduce of the tensors of :meth:`state_dict` with SUM does what :meth:`merge` does.

    Parameters
    ----------
    round : int
        The round.
    average : {"parameters", "natural"}
        What is averaged with the numbers of samples as weights: means and the parameters of deviations, which is
        federated averaging; or :math:`1/\sigma^2` and :math:`\mu/\sigma^2`, which is the normalised weighted geometric
        mean of the posteriors.
    counts : Tensor of int64 of shape (2,)
        Messages and samples.
    terms : mapping of str to Tensor of int64 of shape (3, n)
        Sums of values times samples, as :func:`exact_terms` writes them.
    """

    round: int
    average: str
    counts: Tensor
    terms: Mapping[str, Tensor]

    @classmethod
    def of(cls, message: ClientMessage, *, average: str = "parameters") -> Self:
        """Return the sum of a single message.

        Parameters
        ----------
        message : ClientMessage
        average : {"parameters", "natural"}
            As in the class.

        Returns
        -------
        MessageSum
            24 bytes per number.

        Raises
        ------
        ValueError
            If a value is not finite, or times the number of samples reaches 2^40; with "natural" that is a deviation
            below about the square root of the number of samples over 10^6.
        """
        AVERAGE.check("average", average)
        n = COUNT.check("n_samples", message.n_samples)
        values = {name: value.detach().cpu().double() for name, value in message.values.items()}
        if average == "natural":
            values = _natural(values)
        label = "natural parameters" if average == "natural" else "values"
        terms = {name: exact_terms(n * value, f"{label} of {name!r} times samples") for name, value in values.items()}
        return cls(SIZE.check("round", message.round), average, torch.tensor([1, n]), terms)

    def merge(self, other: "MessageSum") -> "MessageSum":
        """Return the sum over the clients of both.

        Raises
        ------
        ValueError
            If they are of different rounds, supports or kinds of average.
        """
        if (self.round, self.average) != (other.round, other.average):
            mine, theirs = (f"round {one.round}, {one.average!r}" for one in (self, other))
            raise ValueError(f"sums must be of one round and one average; got {mine} and {theirs}")
        shapes, others = ({name: tuple(t.shape) for name, t in one.terms.items()} for one in (self, other))
        if shapes != others:
            raise ValueError("sums must be of messages about the same support; got numbers of values that differ")
        terms = {name: term + other.terms[name] for name, term in self.terms.items()}
        return type(self)(self.round, self.average, self.counts + other.counts, terms)

    @property
    def n_messages(self) -> int:
        """Messages so far."""
        return int(self.counts[0])

    @property
    def n_samples(self) -> int:
        """Rows of all clients."""
        return int(self.counts[1])

    def mean(self) -> dict[str, Tensor]:
        """Return the averages, as means and parameters of deviations, float64 on the CPU.

        Of one message in float32 it returns the values themselves, with "parameters", but for magnitudes below 2^-57.
        """
        values = {name: rounded_sum(term) / self.n_samples for name, term in self.terms.items()}
        return _from_natural(values) if self.average == "natural" else values

    def state_dict(self) -> dict[str, Any]:
        """Return numbers and tensors, to be stored, or to be added up between processes."""
        return {"round": self.round, "average": self.average, "counts": self.counts, "terms": dict(self.terms)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what was stored by :meth:`state_dict`."""
        return cls(int(state["round"]), str(state["average"]), state["counts"], dict(state["terms"]))


def merge_messages(messages: Iterable[ClientMessage | MessageSum], *, average: str = "parameters") -> MessageSum:
    """Return the sum of messages and of sums of messages.

    Parameters
    ----------
    messages : iterable of ClientMessage or MessageSum
        At least one, of one round.
    average : {"parameters", "natural"}
        As in :class:`MessageSum`.

    Returns
    -------
    MessageSum
        Equal to the last bit for any order.

    Raises
    ------
    ValueError
        If there is none, or they do not belong together.

    Examples
    --------
    >>> import torch
    >>> one = ClientMessage(0, 1, {"weight": torch.tensor([0.1])})
    >>> three = ClientMessage(0, 3, {"weight": torch.tensor([0.5])})
    >>> round(merge_messages([one, three]).mean()["weight"].item(), 6)
    0.4
    """
    total: MessageSum | None = None
    for message in messages:
        one = message if isinstance(message, MessageSum) else MessageSum.of(message, average=average)
        total = one if total is None else total.merge(one)
    if total is None:
        raise ValueError("messages must hold at least 1; got none")
    if total.average != average:
        raise ValueError(f"messages must be sums of average={average!r}; got {total.average!r}")
    return total


def _value_bytes(values: Mapping[str, Tensor]) -> int:
    return sum(value.numel() * value.element_size() for value in values.values())


def _pairs(values: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Return names of means with those of the parameters of their deviations."""
    pairs = []
    for name in values:
        prefix, _, last = name.rpartition("rho")
        if last == "" and f"{prefix}weight" in values:
            pairs.append((f"{prefix}weight", name))
    return pairs


def _natural(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return natural parameters of normal weights in place of means and deviations."""
    found = dict(values)
    for weight, rho in _pairs(values):
        found[rho] = positive(values[rho]).pow(-2)
        found[weight] = found[rho] * values[weight]
    return found


def _from_natural(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = dict(values)
    for weight, rho in _pairs(values):
        found[weight] = values[weight] / values[rho]
        found[rho] = inverse_softplus(values[rho].rsqrt())
    return found
