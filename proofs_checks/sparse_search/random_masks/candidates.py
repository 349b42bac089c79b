"""Claims about searching among random masks of an untrained network: exact, whatever the score says."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, search
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_INPUTS, _CLASSES = 6, 3


@dataclass(frozen=True, eq=False)
class Parent:
    """An untrained network of two hidden layers, a batch, and a seed of the masks.

    Parameters
    ----------
    widths : tuple of int
        Of the hidden layers.
    density : float
        Share of their nodes, or of all weights, that candidates keep.
    n_candidates, more : int
        Masks of a search, and how many more a longer one draws.
    nodes : bool
        Whether nodes are drawn, else weights.
    seed : int
    """

    widths: tuple[int, int]
    density: float
    n_candidates: int
    more: int
    nodes: bool
    seed: int

    @cached_property
    def model(self) -> Any:
        """The network in double precision, with biases that are not zero."""
        import torch

        model = core.models.MLP([_INPUTS, *self.widths, _CLASSES], generator=self.seed).double()
        source = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for name, bias in model.named_parameters():
                if name.endswith("bias"):
                    bias.copy_(torch.randn(bias.shape, generator=source, dtype=bias.dtype))
        return model

    @cached_property
    def x(self) -> Float64Array:
        """Four rows of inputs."""
        return np.random.default_rng(self.seed).standard_normal((4, _INPUTS))

    @property
    def sampler(self) -> Any:
        """What draws candidates."""
        return search.NodeSampler(self.density) if self.nodes else search.WeightSampler(self.density)

    def best(self, n_candidates: int, seed: int | None = None) -> "search.SearchResult":
        """Return what a search for a small sum of squared outputs finds."""
        x = tensor(self.x)
        with one_thread():
            return search.random_mask_search(
                self.model,
                self.sampler,
                lambda masked: masked(x).square().mean(),
                n_candidates,
                self.seed if seed is None else seed,
            )

    @cached_property
    def node_masks(self) -> Any:
        """A candidate of nodes."""
        return search.NodeSampler(self.density)(self.model, self.seed)

    def outputs(self, masks: Any) -> Float64Array:
        """Return the outputs under masks."""
        return array(next(core.run_masked(self.model, masks, [tensor(self.x)])))


def _parents(nodes: bool | None = None) -> Any:
    return st.builds(
        Parent,
        st.tuples(st.integers(3, 12), st.integers(3, 12)),
        st.sampled_from((0.2, 0.5, 0.8, 1.0)),
        st.integers(1, 4),
        st.integers(1, 4),
        st.booleans() if nodes is None else st.just(nodes),
        st.integers(0, 2**31 - 1),
    )


def _falls(parent: Parent) -> Measurement:
    """Compare a longer search on the same stream with a shorter one, and both with the mean of their candidates."""
    short, longer = parent.best(parent.n_candidates), parent.best(parent.n_candidates + parent.more)
    found = Measurement(float(longer.scores.min()), float(short.scores.min()), scale=1.0)
    found = found.and_chain({"best": float(longer.best_so_far[-1]), "mean": float(longer.scores.mean()) * (1 + 1e-12)})
    with one_thread():
        again = float(next(core.run_masked(parent.model, longer.mask, [tensor(parent.x)])).square().mean())
    found = found.and_chain({"score of the mask": again, "best of all": float(longer.scores.min()) * (1 + 1e-12)})
    alike = bool((longer.scores[: parent.n_candidates] == short.scores).all())
    return found.and_chain({"scores that differ": 0.0 if alike else 1.0, "none": 0.0})


def _another_stream(parent: Parent) -> Measurement:
    """Give the longer search candidates of its own."""
    longer = parent.best(parent.n_candidates + parent.more, parent.seed + 1)
    return Measurement(float(longer.scores.min()), float(parent.best(parent.n_candidates).scores.min()), scale=1.0)


best_of_n_falls = Claim(
    name="sparse_search.best_of_n_falls",
    summary="On one stream of random masks the best score never rises with their number, and is at most the mean.",
    statement=r"\min_{i \le N + k} \ell(m_i) \le \min_{i \le N} \ell(m_i) \le \frac{1}{N} \sum_{i \le N} \ell(m_i)",
    source=Source.ours("random search on one stream"),
    verdict=Always(0.0),
    instances=_parents,
    evaluate=_falls,
    near_miss=_another_stream,
)


def _distance(parent: Parent, n_candidates: int) -> Measurement:
    import torch

    drawn = parent.sampler(parent.model, torch.Generator().manual_seed(parent.seed))
    return Measurement(drawn.distance(parent.best(n_candidates).mask), 0.0, scale=1.0)


def _one(parent: Parent) -> Measurement:
    """Count entries in which the result of one candidate differs from the mask that the sampler draws."""
    return _distance(parent, 1)


def _two(parent: Parent) -> Measurement:
    """Expect the same of two candidates."""
    return _distance(parent, 2)


single_candidate = Claim(
    name="sparse_search.single_candidate",
    summary="A search with one candidate is the random baseline, bit for bit.",
    statement=r"N = 1: \quad \arg\min_{i \le N} \ell(m_i) = m_1",
    source=Source.ours("random search with one candidate"),
    verdict=Always(0.0),
    instances=_parents,
    evaluate=_one,
    near_miss=_two,
)


def _as_smaller(parent: Parent) -> Measurement:
    """Compare outputs under a mask of nodes with those of the network without the nodes."""
    smaller = search.remove_nodes(parent.model, parent.node_masks)
    expected = array(smaller(tensor(parent.x)))
    apart = np.abs(parent.outputs(parent.node_masks) - expected).max()
    return Measurement(float(apart), 0.0, scale=1.0 + float(np.abs(expected).max()))


def _rows_alone(parent: Parent) -> Measurement:
    """Mask what goes into removed nodes and not what comes out: they still send what their biases are."""
    rows = {name: mask.any(1, keepdim=True).expand_as(mask) for name, mask in parent.node_masks.items()}
    smaller = array(search.remove_nodes(parent.model, parent.node_masks)(tensor(parent.x)))
    return Measurement(float(np.abs(parent.outputs(rows) - smaller).max()), 0.0, scale=1.0)


node_mask_network = Claim(
    name="sparse_search.node_mask_network",
    summary="A mask of nodes, on their rows and their columns, computes the network without these nodes.",
    statement=r"f(x; W \odot m) = f_{\text{small}}(x; W_{\text{kept}})",
    source=Source.ours("masks of nodes as products of kept outputs and kept inputs"),
    verdict=Always(1e-12),
    instances=lambda: _parents(nodes=True),
    evaluate=_as_smaller,
    near_miss=_rows_alone,
)


def _operations(parent: Parent) -> tuple[int, int, int]:
    """Return operations of the masked network in the report, of the smaller one, and of the dense one."""
    import copy

    x, masked = tensor(parent.x), copy.deepcopy(parent.model)
    parent.node_masks.apply(masked)
    report = core.count_flops(masked, x, parent.node_masks)
    smaller = core.count_flops(search.remove_nodes(parent.model, parent.node_masks), x)
    return report.sparse_flops, smaller.flops, report.flops


def _same_operations(parent: Parent) -> Measurement:
    """Compare the two counts."""
    masked, smaller, _ = _operations(parent)
    return Measurement(abs(masked - smaller), 0.0, scale=1.0)


def _share_of_nodes(parent: Parent) -> Measurement:
    """Expect the dense count times the share of nodes, which layers between two hidden ones have squared."""
    _, smaller, dense = _operations(parent)
    return Measurement(abs(parent.density * dense - smaller), 0.0, scale=1.0)


node_mask_operations = Claim(
    name="sparse_search.node_mask_operations",
    summary="A report counts as many operations under a mask of nodes as the network without them has.",
    statement=r"F_{\text{sparse}}(W \odot m) = F_{\text{dense}}(W_{\text{kept}})",
    source=Source.ours("operations under masks of nodes"),
    verdict=Always(0.0),
    instances=lambda: _parents(nodes=True),
    evaluate=_same_operations,
    near_miss=_share_of_nodes,
)
