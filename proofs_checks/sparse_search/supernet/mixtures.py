"""Claims about a chain of mixed operations: clear choices, cost, and the gradient of what chooses."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, search
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_DARTS = Source("Liu, Simonyan, Yang, DARTS (2019)", "continuous relaxation", "1806.09055")
_OPS = ("zero", "identity", "dense", "sparse:0.25", "low_rank:2")


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain with architecture parameters, labelled data, and the price of a dense edge.

    Parameters
    ----------
    n_edges, width, n_ops : int
        The last operations of zero, identity, dense, sparse and of low rank.
    price : float
    seed : int
    """

    n_edges: int
    width: int
    n_ops: int
    price: float
    seed: int

    @cached_property
    def model(self) -> Any:
        """The chain in double precision."""
        import torch

        widths = [self.width] * (self.n_edges + 1)
        model = search.SuperChain(4, widths, 3, _OPS[-self.n_ops :], generator=self.seed).double()
        rng = np.random.default_rng(self.seed)
        with torch.no_grad():
            for alpha in model.alphas:
                alpha.copy_(tensor(rng.standard_normal(self.n_ops)))
        return model

    @cached_property
    def data(self) -> tuple[Any, Any]:
        """Five rows of inputs with labels."""
        rng = np.random.default_rng([self.seed, 1])
        return tensor(rng.standard_normal((5, 4))), tensor(rng.integers(0, 3, 5))

    def with_probabilities(self, probabilities: Float64Array) -> float:
        """Return the expected cost at some probabilities of the operations of each edge."""
        import torch

        with torch.no_grad():
            for alpha, row in zip(self.model.alphas, probabilities, strict=True):
                alpha.copy_(tensor(np.log(row)))
            return float(self.model.expected_cost())


def _chains() -> Any:
    return st.builds(
        Chain,
        st.integers(1, 3),
        st.integers(4, 8),
        st.integers(2, len(_OPS)),
        st.sampled_from((0.0, 0.1, 2.0)),
        st.integers(0, 2**31 - 1),
    )


def _clear_choice(chain: Chain, height: float) -> Measurement:
    """Set one alpha of the first edge to a number and the others to 0; compare with that operation."""
    import torch

    edge = next(chain.model.mixed())
    x = tensor(np.random.default_rng([chain.seed, 2]).standard_normal((5, chain.width)))
    chosen = chain.seed % chain.n_ops
    with torch.no_grad():
        edge.alpha.zero_()
        edge.alpha[chosen] = height
        apart = (edge(x) - edge.ops[chosen](x)).abs().max()
    return Measurement(float(apart), 0.0, scale=1.0)


def _one_hot(chain: Chain) -> Measurement:
    """Take a number whose softmax is 1 and 0 in double precision."""
    return _clear_choice(chain, 1000.0)


def _likely(chain: Chain) -> Measurement:
    """Take one whose softmax leaves the others a little."""
    return _clear_choice(chain, 5.0)


one_hot_choice = Claim(
    name="sparse_search.one_hot_choice",
    summary="A mixture whose softmax is one-hot is that operation.",
    statement=r"\operatorname{softmax}(\alpha) = e_o \quad\Rightarrow\quad"
    r" \textstyle\sum_q \operatorname{softmax}(\alpha)_q\, \mathrm{op}_q(x) = \mathrm{op}_o(x)",
    source=_DARTS,
    verdict=Always(0.0),
    instances=_chains,
    evaluate=_one_hot,
    near_miss=_likely,
)


def _two_draws(chain: Chain) -> tuple[Float64Array, Float64Array]:
    rng = np.random.default_rng([chain.seed, 3])
    p, q = rng.dirichlet(np.ones(chain.n_ops), (2, chain.n_edges))
    return p + 1e-9, q + 1e-9


def _linear_cost(chain: Chain) -> Measurement:
    """Compare the cost halfway between two sets of probabilities with the mean of their costs.

    The cost of a clear choice is the number of weights in use over that of the dense edge, counted by hand.
    """
    p, q = (rows / rows.sum(1, keepdims=True) for rows in _two_draws(chain))
    middle = chain.with_probabilities((p + q) / 2)
    mean = (chain.with_probabilities(p) + chain.with_probabilities(q)) / 2
    n = chain.width**2
    by_hand = np.array([0.0, 0.0, 1.0, (n - round(0.75 * n)) / n, 4 * chain.width / n])[-chain.n_ops :]
    expected = float(((p + q) / 2 @ by_hand).sum())
    apart = max(abs(middle - mean), abs(middle - expected))
    return Measurement(apart, 0.0, scale=1.0 + expected)


def _linear_in_alpha(chain: Chain) -> Measurement:
    """Expect the same halfway between two vectors alpha."""
    p, q = (rows / rows.sum(1, keepdims=True) for rows in _two_draws(chain))
    between = np.sqrt(p * q)
    middle = chain.with_probabilities(between / between.sum(1, keepdims=True))
    mean = (chain.with_probabilities(p) + chain.with_probabilities(q)) / 2
    return Measurement(abs(middle - mean), 0.0, scale=1.0)


expected_cost = Claim(
    name="sparse_search.expected_cost",
    summary="The cost that a search pays is linear in the probabilities of the operations, not in alpha.",
    statement=r"C(\alpha) = \sum_e \sum_o \operatorname{softmax}(\alpha_e)_o\, c_{eo}, \quad"
    r" c_{eo} = F_{eo} / F_{\text{dense}}",
    source=Source.ours("a price on operations relative to a dense edge"),
    verdict=Always(1e-12),
    instances=_chains,
    evaluate=_linear_cost,
    near_miss=_linear_in_alpha,
)


def _edge_values(chain: Chain) -> list[tuple[Float64Array, Float64Array, Float64Array]]:
    """Return for each edge its probabilities, the outputs of its operations, and the gradient by their mixture."""
    import torch

    seen: list[tuple[Any, Any, Any]] = []
    model, (x, labels) = chain.model, chain.data
    hidden = model.stem(x)
    for edge in model.mixed():
        outputs = [op(hidden) for op in edge.ops]
        shares = edge.probabilities().detach()
        hidden = sum(share * output for share, output in zip(shares, outputs, strict=True))
        hidden.retain_grad()
        seen.append((shares, torch.stack([output.detach() for output in outputs]), hidden))
    core.class_loss(model.head(hidden), labels).backward()
    return [(array(shares), array(outputs), array(mixture.grad)) for shares, outputs, mixture in seen]


def _alpha_gradients(chain: Chain) -> Float64Array:
    """Return the gradient of validation loss and cost by alpha, as autograd finds it."""
    import torch

    model, (x, labels) = chain.model, chain.data
    aim = core.class_loss(model(x), labels) + chain.price * model.expected_cost()
    return np.stack([array(gradient) for gradient in torch.autograd.grad(aim, model.alphas)])


def _by_hand(chain: Chain, *, centred: bool) -> Measurement:
    """Compare with ``p_o (v_o - sum_q p_q v_q)``, where v_o is the inner product of the edge's gradient with op_o(x).

    To v_o comes the price times the cost of the operation.
    """
    expected = []
    for (shares, outputs, upstream), costs in zip(_edge_values(chain), chain.model.costs, strict=True):
        values = (outputs * upstream).sum((1, 2)) + chain.price * np.array(costs)
        expected.append(shares * (values - (shares @ values if centred else 0.0)))
    found = _alpha_gradients(chain)
    apart = np.abs(found - np.stack(expected)).max()
    return Measurement(float(apart), 0.0, scale=1.0 + float(np.abs(expected).max()))


def _first_order(chain: Chain) -> Measurement:
    """Compare with the derivative of the softmax, written out."""
    return _by_hand(chain, centred=True)


def _not_centred(chain: Chain) -> Measurement:
    """Forget that probabilities sum to 1: all alphas of a good edge would rise."""
    return _by_hand(chain, centred=False)


alpha_gradient = Claim(
    name="sparse_search.alpha_gradient",
    summary="The first-order gradient of alpha: how much better an operation is than the mixture, times its share.",
    statement=r"\partial_{\alpha_o} (L_{\text{val}} + \mu C) = p_o \Big(v_o - \sum_q p_q v_q\Big), \quad"
    r" v_o = \langle \partial L_{\text{val}} / \partial z, \mathrm{op}_o(x)\rangle + \mu c_o",
    source=_DARTS,
    verdict=Always(1e-11),
    instances=_chains,
    evaluate=_first_order,
    near_miss=_not_centred,
)
