"""Claims about K-subspaces: it climbs, also where it reseeds; its objective can be blind; and codes that do not err."""

from dataclasses import dataclass, replace

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_representation.molrg.instances import Mixture, mixtures
from sparsetheory.proofs_checks.verdicts import Always

_ROUNDING = 1e-10


def _climb(mixture: Mixture) -> Measurement:
    """Find the largest fall of the objective in any half of an alternation, with reseeding and without."""
    with one_thread():
        X, worst = mixture.sample().X, 0.0
        for empty in ("reseed", "keep"):
            count = min(len(mixture.widths) + 2, len(X))
            # More subspaces than there are, so that some are often empty.
            fit = representation.k_subspaces(X, count, mixture.widths[0], empty=empty, generator=mixture.seed)
            worst = max(worst, float((-fit.objectives.diff()).max()))
        return Measurement(worst, 0.0, float(X.square().sum()))


def _crossed(mixture: Mixture) -> Measurement:
    """Refit bases to labels of the smallest projections: a slip of a sign."""
    import torch

    with one_thread():
        X = mixture.sample().X
        bases = replace(mixture, seed=mixture.seed + 1).sample().bases
        held = torch.stack([(X @ basis).square().sum(1) for basis in bases])
        before, labels = float(held.amax(0).sum()), held.argmin(0)
        after = sum(
            float(torch.linalg.svdvals(X[labels == k])[: basis.shape[1]].square().sum()) if (labels == k).any() else 0.0
            for k, basis in enumerate(bases)
        )
        return Measurement(before - after, 0.0, float(X.square().sum()))


monotone_alternation = Claim(
    name="sparse_representation.monotone_alternation",
    summary="No step of K-subspaces lowers its objective, also where an empty subspace is given the worst point.",
    statement=r"\textstyle\sum_i \max_k \|U_k^T x_i\|^2 \text{ never falls}",
    source=Source.ours(
        "each half is optimal for the other; a point of its own is held as a whole, so reseeding climbs"
    ),
    verdict=Always(_ROUNDING),
    instances=mixtures,
    evaluate=_climb,
    near_miss=_crossed,
)


def _certified(mixture: Mixture, *, cut: bool) -> Measurement:
    """Recompute what an alternation gains where the algorithm stopped, and compare with the bound that is certified."""
    with one_thread():
        X = mixture.sample().X
        fit = representation.k_subspaces(
            X, len(mixture.widths), mixture.widths, generator=mixture.seed, max_iter=1 if cut else 1000
        )
        checked = fit.certificate.check(X)
    if checked.measured is None:
        return Measurement(1.0, 0.0, 1.0)
    return Measurement(checked.measured, checked.bound, 1.0).and_chain(
        {"objective": checked.objective / float(X.square().sum()), "upper": checked.upper / float(X.square().sum())}
    )


certified_subspaces = Claim(
    name="sparse_representation.certified_subspaces",
    summary="Where K-subspaces stops, neither other labels nor other bases alone hold more: checked from the data.",
    statement=r"\max_{\text{labels}} - \text{objective} \le \delta \|X\|^2, \quad"
    r" \max_{\text{bases}} - \text{objective} \le \delta \|X\|^2, \quad"
    r" \text{objective} \le \textstyle\sum_{i \le \sum_k d_k} \sigma_i^2(X)",
    source=Source.ours("spectra of the clusters and of all points, by the code that certifies shared bases"),
    verdict=Always(_ROUNDING),
    instances=mixtures,
    evaluate=lambda mixture: _certified(mixture, cut=False),
    near_miss=lambda mixture: _certified(mixture, cut=True),
)


@dataclass(frozen=True)
class _Split:
    """A mixture with a permutation of its points, and how many more points than dimensions there are."""

    mixture: Mixture
    seed: int


def _splits() -> SearchStrategy[_Split]:
    def square(width: int, count: int, seed: int) -> Mixture:
        return Mixture(12, (width,) * count, per_subspace=width, orthogonal=True, seed=seed)

    mixture = st.builds(square, st.integers(1, 4), st.integers(2, 3), st.integers(0, 2**20))
    return st.builds(_Split, mixture, st.integers(0, 2**20))


def _blind(split: _Split, extra: int) -> Measurement:
    """Deal points to groups at random, as many to each as there are dimensions, and see what the fit leaves."""
    import torch

    with one_thread():
        mixture = replace(split.mixture, per_subspace=split.mixture.widths[0] + extra)
        X, count = mixture.sample().X, len(mixture.widths)
        order = torch.randperm(len(X), generator=torch.Generator().manual_seed(split.seed))
        held = sum(
            float(torch.linalg.svdvals(X[rows])[: mixture.widths[0]].square().sum()) for rows in order.chunk(count)
        )
        fit = representation.k_subspaces(X, count, mixture.widths[0], init=(order.argsort() // mixture.per_subspace))
        total = float(X.square().sum())
    return Measurement(abs(held - total) + abs(fit.objective - held), 0.0, total)


blind_objective = Claim(
    name="sparse_representation.blind_objective",
    summary="With as many points per subspace as dimensions, every split of the points reaches the maximum.",
    statement=r"N_k = d: \quad \max_U \textstyle\sum_k \sum_{i \in G_k} \|U_k^T x_i\|^2 = \|X\|^2"
    r" \ \text{ for all splits into groups of } d",
    source=Source.ours("any d points lie on a subspace of d dimensions; one point more, and it is no longer so"),
    verdict=Always(_ROUNDING),
    instances=_splits,
    evaluate=lambda split: _blind(split, 0),
    near_miss=lambda split: _blind(split, 1),
)


def _astray(mixture: Mixture) -> Measurement:
    """Find the largest coefficient of a point of another subspace."""
    with one_thread():
        sample = mixture.sample()
        if len(sample.X) < 2:
            return Measurement(0.0, 0.0, 1.0)
        codes = representation.self_expressive_codes(sample.X, sum(mixture.widths))
        other = sample.labels[:, None] != sample.labels
        return Measurement(float(codes[other].abs().max()) if other.any() else 0.0, 0.0, 1.0)


codes_stay = Claim(
    name="sparse_representation.codes_stay",
    summary="On orthogonal subspaces without noise, a pursuit never takes a point of another subspace.",
    statement=r"U_k^T U_l = 0 \;\Rightarrow\; C_{ij} = 0 \ \text{ for } x_i \in \operatorname{span} U_k,"
    r" x_j \in \operatorname{span} U_l",
    source=Source.ours(
        "residuals stay in the subspace; after You, Robinson, Vidal 2016. Not orthogonal: the near miss"
    ),
    verdict=Always(0.0),
    instances=lambda: mixtures(orthogonal=True).map(lambda mixture: replace(mixture, noise=0.0)),
    evaluate=_astray,
    near_miss=lambda mixture: _astray(replace(mixture, orthogonal=False, per_subspace=mixture.per_subspace + 3)),
)
