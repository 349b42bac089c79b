"""Claims about messages: sums of the same bits in any order, and the bytes that say which weights are on."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import bayesian
from sparsetheory.proofs_checks.bayesian_networks.federated.linear import ours
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array


@dataclass(frozen=True)
class _Answers:
    """Answers of clients with unequal numbers of rows, values over many decades, and some that cancel."""

    sizes: tuple[int, ...]
    seed: int

    @property
    def values(self) -> Float64Array:
        """One row per client, in single precision."""
        rng = np.random.default_rng(self.seed)
        values = rng.standard_normal((len(self.sizes), 6)) * 10 ** rng.uniform(-6, 4, (len(self.sizes), 6))
        values[: len(self.sizes) // 2] = -values[len(self.sizes) // 2 : 2 * (len(self.sizes) // 2)]
        return values.astype(np.float32)

    @property
    def messages(self) -> list[Any]:
        """The messages."""
        import torch

        rows = torch.from_numpy(self.values)
        return [bayesian.ClientMessage(3, size, {"weight": row}) for size, row in zip(self.sizes, rows, strict=True)]


def _answers() -> st.SearchStrategy[_Answers]:
    sizes = st.lists(st.integers(1, 5000), min_size=3, max_size=12).map(tuple)
    return st.builds(_Answers, sizes, st.integers(0, 2**31))


def _merged(answers: _Answers) -> Measurement:
    """Merge in three orders, one of them by a tree of partial sums, and compare with fractions."""
    messages = answers.messages
    rng = np.random.default_rng([answers.seed, 1])
    shuffled = [messages[i] for i in rng.permutation(len(messages))]
    half = len(messages) // 2
    tree = bayesian.merge_messages([bayesian.merge_messages(shuffled[half:]), bayesian.merge_messages(shuffled[:half])])
    found = [one.mean()["weight"].numpy() for one in (bayesian.merge_messages(messages), tree)]
    exact = []
    for column in answers.values.T:
        pairs = zip(column.tolist(), answers.sizes, strict=True)
        exact.append(float(sum(Fraction(value) * size for value, size in pairs) / sum(answers.sizes)))
    largest = np.abs(answers.values).max(axis=0)
    error = float((np.abs(found[0] - exact) / largest).max())
    # Two roundings of the sum, one of the quotient.
    return Measurement(float(np.abs(found[0] - found[1]).max()), 0.0, 1.0).and_chain(
        {"error": error, "three roundings": 3 * 2.0**-53}
    )


def _added_as_floats(answers: _Answers) -> Measurement:
    """Add in double precision, in two orders."""
    weighted = answers.values.astype(np.float64) * np.array(answers.sizes)[:, None]
    forward, backward = np.zeros(6), np.zeros(6)
    for row in weighted:
        forward = forward + row
    for row in weighted[::-1]:
        backward = backward + row
    return Measurement(float(np.abs(forward - backward).max()), 0.0, 1.0)


merge_order = Claim(
    name="bayesian_networks.merge_order",
    summary="Sums of messages have the same bits in any order of clients and partial sums, and are exact.",
    statement=r"\mathrm{merge}(a, \mathrm{merge}(b, c)) = \mathrm{merge}(\mathrm{merge}(c, a), b), \quad "
    r"|\mathrm{mean} - \textstyle\sum_k n_k \theta_k / n| \le 3 \cdot 2^{-53} \max_k |\theta_k|",
    source=ours("sums of integers"),
    verdict=Always(0.0),
    instances=_answers,
    evaluate=_merged,
    near_miss=_added_as_floats,
)


@dataclass(frozen=True)
class _Support:
    """A support whose rows switch on and off."""

    shape: tuple[int, int]
    activation: float
    deactivation: float
    seed: int

    @property
    def mask(self) -> BoolArray:
        """The support."""
        rng = np.random.default_rng(self.seed)
        draws = rng.random(self.shape)
        mask = np.zeros(self.shape, dtype=bool)
        mask[:, 0] = draws[:, 0] < self.activation / (self.activation + self.deactivation)
        for j in range(1, self.shape[1]):
            mask[:, j] = np.where(mask[:, j - 1], draws[:, j] >= self.deactivation, draws[:, j] < self.activation)
        return mask


def _supports() -> st.SearchStrategy[_Support]:
    rates = st.sampled_from([0.003, 0.02, 0.1, 0.5, 0.9])
    sides = st.integers(1, 60)
    return st.builds(_Support, st.tuples(sides, sides), rates, rates, st.integers(0, 2**31))


def _code_bits(support: _Support, of_runs: Callable[[int, int], float]) -> Measurement:
    """Compare the bits of a code that gives the mask back with a bound from the number of runs and with a bitmask."""
    import torch

    mask = torch.from_numpy(support.mask)
    code = bayesian.encode_support(mask)
    flat = support.mask.ravel()
    runs = 1 + int((flat[1:] != flat[:-1]).sum())
    restored = bool((bayesian.decode_support(code, mask.shape) == mask).all())
    return (
        Measurement.chain(8.0 * len(code), of_runs(runs, flat.size), {}, 1.0)
        .and_chain({"bits": 8.0 * len(code), "a bit per weight": 8.0 * (1 + -(-flat.size // 8))})
        .and_chain({"wrong masks": float(not restored), "none": 0.0})
    )


support_bytes = Claim(
    name="bayesian_networks.support_bytes",
    summary="A support costs at most a bit per weight, and at most twice the logarithm of the mean run for each run.",
    statement=r"\mathrm{bits} \le \min\{N + 15,\ R (2 \log_2(N / R) + 1) + 16\}, \quad "
    r"R \text{ runs of } N \text{ weights}",
    source=ours("code of Elias for runs, by concavity of the logarithm"),
    verdict=Always(0.0),
    instances=_supports,
    # A byte for the kind of code, a bit for the first weight, and up to seven to fill a byte.
    evaluate=lambda support: _code_bits(support, lambda runs, size: runs * (2 * np.log2(size / runs) + 1) + 16),
    near_miss=lambda support: _code_bits(support, lambda runs, size: runs * (np.log2(size / runs) + 1) + 16),
)
