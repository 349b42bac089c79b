import pytest
import torch

from sparsetheory.gpu.core import NM, BlockNM, GlobalPattern, Gram, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.weights import layerwise_prune, relative_error
from sparsetheory.gpu.weights.layerwise.damping import choose_delta
from sparsetheory.gpu.weights.layerwise.dispatch import METHODS, STARTS

PATTERNS = [NM(2, 4), NM(1, 4), PerRow(density=0.5), PerRow(n_nonzero=(3, 5) * 4), RowBlock(2, 0.5), BlockNM(2, 2, 4)]


def _layer(rows=8, columns=16, samples=400, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(samples, columns, generator=generator).cumsum(1) + torch.randn(
        samples, columns, generator=generator
    )
    return torch.randn(rows, columns, generator=generator).to(dtype), X.to(dtype)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_swap_is_certified_for_every_pattern_of_rows(pattern):
    W, X = _layer()
    result = layerwise_prune(W, Gram.of(X), pattern)
    assert int(result.mask.sum()) == pattern.count(W.shape)
    assert result.certificate.swap_optimal
    checked = result.certificate.check(W, X, n_rows=8)
    assert checked.valid, checked.reason
    assert checked.measured <= result.certificate.bound
    assert result.relative_error == pytest.approx(relative_error(W, result.weight, Gram.of(X)), rel=1e-9)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_is_certified(method):
    W, X = _layer()
    result = layerwise_prune(W, Gram.of(X), NM(2, 4), method)
    assert result.certificate.check(W, X).valid
    result = layerwise_prune(W, Gram.of(X), NM(2, 4), method, damping=1e-2)
    refitted = layerwise_prune(W, Gram.of(X), NM(2, 4), method, damping=1e-2, refit=True)
    assert refitted.certificate.refitted
    assert refitted.certificate.check(W, X).valid
    # The refit minimises the damped objective on the mask that the method found.
    assert torch.equal(refitted.mask, result.mask)
    slack = 1e-5 * float(result.objective.sum())
    assert float(refitted.objective.sum()) <= float(result.objective.sum()) + slack


@pytest.mark.parametrize("start", sorted(STARTS))
@pytest.mark.parametrize("pattern", [NM(2, 4), PerRow(density=0.5)], ids=str)
def test_swap_is_never_above_the_refit_of_its_start(start, pattern):
    W, X = _layer(dtype=torch.float64)
    gram, delta = Gram.of(X), 1e-2
    swap = layerwise_prune(W, gram, pattern, start=start, damping=delta)
    if start != "continuation":
        refit = layerwise_prune(W, gram, pattern, start, refit=True, damping=delta)
        assert bool((swap.objective <= refit.objective * (1 + 1e-9)).all())
        plain = layerwise_prune(W, gram, pattern, start, damping=delta)
        assert bool((refit.objective <= plain.objective * (1 + 1e-9)).all())


def test_budgets_across_rows_are_exact_and_no_worse_than_equal_rows():
    W, X = _layer(rows=12)
    W[:4] *= 10
    gram = Gram.of(X)
    whole = layerwise_prune(W, gram, PerTensor(0.5))
    rows = layerwise_prune(W, gram, PerRow(density=0.5))
    assert int(whole.mask.sum()) == int(rows.mask.sum()) == W.numel() // 2
    assert whole.relative_error < rows.relative_error
    assert int(whole.mask[:4].sum()) > int(rows.mask[:4].sum())
    assert whole.certificate.check(W, X).valid


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_certificate_allows_for_the_rounding_of_the_weight(dtype):
    W, X = _layer(dtype=dtype)
    result = layerwise_prune(W, Gram.of(X), NM(2, 4))
    assert result.weight.dtype == dtype
    checked = result.certificate.check(W, X)
    assert checked.valid, checked.reason
    assert checked.measured <= checked.bound


def _corrupted(certificate, kind):
    from dataclasses import replace

    weight, mask = certificate.weight.clone(), certificate.mask.clone()
    if kind == "coefficient":
        weight[mask] *= 1.01
    elif kind == "support":
        weight[~mask] = 1e-3
    elif kind == "objective":
        return replace(certificate, objective=certificate.objective * 0.99).stated()
    elif kind == "lower bound":
        return replace(certificate, lower_bound=certificate.lower_bound * 1.1 + 0.01).stated()
    elif kind == "statement":
        return replace(certificate, statement="the best of all")
    return replace(certificate, weight=weight)


@pytest.mark.parametrize("kind", ["coefficient", "support", "objective", "lower bound", "statement"])
def test_a_corrupted_certificate_is_invalid(kind):
    W, X = _layer()
    certificate = layerwise_prune(W, Gram.of(X), NM(2, 4)).certificate
    assert not _corrupted(certificate, kind).check(W, X).valid


def test_other_data_and_other_weights_are_noticed():
    W, X = _layer()
    certificate = layerwise_prune(W, Gram.of(X), NM(2, 4)).certificate
    assert not certificate.check(W, _layer(seed=3)[1]).valid
    assert not certificate.check(W.flip(0), X).valid


def test_a_mask_that_a_swap_improves_is_not_certified_as_optimal():
    from dataclasses import replace

    W, X = _layer()
    wanda = layerwise_prune(W, Gram.of(X), NM(2, 4), "wanda", refit=True).certificate
    claimed = replace(wanda, swap_optimal=True).stated()
    checked = claimed.check(W, X, n_rows=8)
    assert not checked.valid
    assert "swap" in checked.reason


def test_a_limit_on_swaps_gives_no_promise_about_them():
    W, X = _layer()
    result = layerwise_prune(W, Gram.of(X), NM(2, 4), start="magnitude", max_swaps=1)
    assert int(result.n_swaps.max()) == 1
    assert not result.certificate.swap_optimal
    assert "swap" not in result.certificate.statement


def test_damping_is_chosen_by_shards_and_reported():
    W, X = _layer(samples=20)
    few = choose_delta(W.double(), Gram.of(X), NM(2, 4), "shards").delta
    W, X = _layer(samples=20_000)
    many = choose_delta(W.double(), Gram.of(X), NM(2, 4), "shards").delta
    assert few > many
    assert choose_delta(W.double(), Gram.of(X, n_shards=1), NM(2, 4), "shards").delta == 1e-2
    assert layerwise_prune(W, Gram.of(X), NM(2, 4), damping=0.3).delta == 0.3


def test_inputs_that_are_always_zero_get_weight_zero():
    W, X = _layer()
    X[:, [1, 5]] = 0
    for method in METHODS:
        result = layerwise_prune(W, Gram.of(X), NM(2, 4), method, refit=method != "magnitude")
        assert torch.isfinite(result.weight).all()
        if method != "magnitude":
            assert not result.weight[:, [1, 5]].any()
            assert result.certificate.check(W, X).valid


def test_a_layer_of_zeros_stays_zero():
    _, X = _layer()
    result = layerwise_prune(torch.zeros(3, 16), Gram.of(X), NM(2, 4))
    assert not result.weight.any()
    assert result.relative_error == 0.0
    assert result.certificate.check(torch.zeros(3, 16), X).valid


def test_results_do_not_depend_on_the_number_of_threads():
    W, X = _layer(rows=40)
    one, two = (layerwise_prune(W, Gram.of(X), NM(2, 4), n_jobs=n_jobs) for n_jobs in (1, 2))
    assert torch.equal(one.weight, two.weight)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"W": torch.ones(2, 3, 4)}, ValueError, "W must be a matrix"),
        ({"W": torch.ones(2, 16, dtype=torch.int64)}, TypeError, "W must be a tensor of real"),
        ({"W": torch.full((2, 16), torch.nan)}, ValueError, "W must be finite"),
        ({"W": torch.ones(2, 12)}, ValueError, "gram must have 12 rows"),
        ({"pattern": NM(2, 5)}, ValueError, "W must have a multiple of 5 entries along axis -1"),
        ({"pattern": "two"}, ValueError, "pattern must be like 2:4"),
        ({"pattern": 2}, TypeError, "pattern must be a pattern"),
        ({"pattern": GlobalPattern(0.5)}, TypeError, "pattern must be a pattern"),
        ({"gram": torch.ones(16, 15)}, ValueError, "gram must be a square matrix"),
        (
            {"gram": torch.eye(16).index_put((torch.tensor(0), torch.tensor(1)), torch.tensor(1.0))},
            ValueError,
            "symmetric",
        ),
        ({"gram": torch.eye(16) * torch.nan}, ValueError, "gram must be finite"),
        ({"gram": Gram.empty(16)}, ValueError, "gram must hold at least 1 row"),
        ({"method": "magic"}, ValueError, "method must be"),
        ({"start": "swap"}, ValueError, "start must be"),
        ({"damping": -1.0}, ValueError, "damping must be"),
        ({"max_swaps": -1}, ValueError, "max_swaps must be"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be"),
        ({"refit": 1}, ValueError, "refit must be"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    W, X = _layer()
    given = {"W": W, "gram": Gram.of(X), "pattern": NM(2, 4), **change}
    with pytest.raises(error, match=message):
        layerwise_prune(given.pop("W"), given.pop("gram"), given.pop("pattern"), **given)
