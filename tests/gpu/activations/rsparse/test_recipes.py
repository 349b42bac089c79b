"""The share of each layer: by evolution, from tables of layer errors, and one share by elimination."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from sparsetheory.gpu.activations import RSparseLinear, eliminate_rhos, rsparse_model, search_recipe
from sparsetheory.gpu.activations.rsparse.candidates import Candidates

RHOS = (0.0, 0.5, 1.0)


def _case():
    """A layer of low rank, one whose inputs are sparse already, and one in between."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 24))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(40, 6) @ torch.randn(6, 40) / 15)
    return model, torch.randn(120, 40)


def _fitness(model, x):
    dense = model(x).detach()
    return lambda candidate: float((candidate(x).detach() - dense).square().mean() / dense.square().mean())


def _share(candidate, row):
    return float(candidate(row).sum() > 0)


@pytest.mark.parametrize("method", ["evolution", "lagrange"])
def test_a_recipe_is_what_the_model_is_converted_with(method):
    model, x = _case()
    fitness = _fitness(model, x)
    recipe = search_recipe(model, fitness, 0.5, method, 0, calibration=[x], rhos=RHOS, n_generations=2)
    again = rsparse_model(model, [x], recipe.sparsity, recipe.rho)
    assert fitness(again) == recipe.fitness == recipe.best[-1]
    assert list(recipe.best) == sorted(recipe.best, reverse=True)
    assert recipe.n_evaluations == (3 + 7 + 32 if method == "evolution" else 1)
    assert set(recipe.rho) == set(recipe.sparsity) == {"0", "1", "3"}
    assert all(isinstance(model[k], nn.Linear) for k in (0, 1, 3))
    # The layer of low rank spends its budget on singular directions.
    assert recipe.rho["0"] == 0.0
    assert recipe.rho["3"] > 0.0


def test_candidates_are_the_layers_of_the_converted_model():
    model, x = _case()
    shares = [(0.5, 0.0), (0.5, 0.5), (0.3, 1.0)]
    candidates = Candidates.of(model, [x], shares, None, (), None)
    for sparsity, rho in shares:
        number = shares.index((sparsity, rho))
        one, other = candidates.put([number] * 3), rsparse_model(model, [x], sparsity, rho)
        for k in (0, 1, 3):
            assert one[k].budget == other[k].budget
            assert one[k].realised == other[k].realised
            assert torch.equal(one[k].selector.threshold, other[k].selector.threshold)
        torch.testing.assert_close(one(x), other(x))


def test_the_table_holds_relative_errors_of_outputs():
    model, x = _case()
    candidates = Candidates.of(model, [x], [(0.5, rho) for rho in RHOS], None, (), None)
    inputs = model[0](x).detach()
    dense = nn.functional.linear(inputs, model[1].weight).detach()
    for rho, loss in zip(RHOS, candidates.losses()[1], strict=True):
        made = RSparseLinear.from_linear(model[1], 0.5, rho, inputs)
        expected = (made(inputs) - model[1](inputs)).square().sum() / dense.square().sum()
        assert loss == pytest.approx(float(expected), rel=1e-3, abs=1e-9)


def test_budget_moves_between_layers_within_the_whole():
    model, x = _case()
    fitness, levels = _fitness(model, x), (0.3, 0.5, 0.7, 0.9)
    recipe = search_recipe(model, fitness, 0.5, "lagrange", calibration=[x], rhos=RHOS, sparsities=levels)
    assert len(set(recipe.sparsity.values())) > 1
    made = rsparse_model(model, [x], recipe.sparsity, recipe.rho)
    used = sum(layer.budget.used for layer in made if isinstance(layer, RSparseLinear))
    assert used <= (1 - Fraction("0.5")) * (2 * 40 * 40 + 40 * 24)
    tables = Candidates.of(model, [x], [(s, rho) for s in levels for rho in RHOS], None, (), None).losses()
    uniform = sum(min(table[3:6]) for table in tables)
    chosen = [
        table[levels.index(s) * 3 + RHOS.index(rho)]
        for table, s, rho in zip(tables, recipe.sparsity.values(), recipe.rho.values(), strict=True)
    ]
    assert sum(chosen) < uniform
    with pytest.raises(ValueError, match="budget must be at least"):
        search_recipe(model, fitness, 0.5, "lagrange", calibration=[x], rhos=(1.0,), sparsities=(0.1, 0.3))


def test_a_stopped_search_goes_on(tmp_path):
    model, x = _case()
    fitness, file = _fitness(model, x), tmp_path / "recipe.jsonl"
    options = {"calibration": [x], "rhos": RHOS, "n_generations": 1, "checkpoint": file}
    before = search_recipe(model, fitness, 0.5, generator=0, **options)
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:5]))
    assert search_recipe(model, fitness, 0.5, generator=0, resume=True, **options) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "random"}, "method must be one of"),
        ({"sparsity": 1.0}, "sparsity must be"),
        ({"rhos": (0.0, 2.0)}, "rhos must be"),
        ({"sparsities": (0.5,)}, "sparsities must be None for method='evolution'"),
        ({"sparsities": (1.5,), "method": "lagrange"}, "sparsities must be"),
    ],
)
def test_arguments(change, words):
    model, x = _case()
    given = {"model": model, "fitness": _fitness(model, x), "sparsity": 0.5, "calibration": [x], **change}
    with pytest.raises(ValueError, match=words):
        search_recipe(**given)


def test_elimination_finds_the_best_share_and_stops():
    model, x = _case()
    dense = model(x).detach()
    rows = list(zip(x, dense, strict=True))

    def loss(candidate, sample):
        row, wanted = sample
        return min(float((candidate(row) - wanted).norm() / wanted.norm()), 2.0)

    options = {"calibration": [x], "rhos": (0.0, 0.3, 1.0), "noise_std": 0.2, "random_state": 0}
    race = eliminate_rhos(model, loss, rows, 0.5, horizon=20000, **options)
    means = [sum(loss(rsparse_model(model, [x], 0.5, rho), row) for row in rows) / len(rows) for rho in options["rhos"]]
    best = min(means)
    assert means[options["rhos"].index(race.rho)] == best
    assert race.active == (race.rho,)
    assert sum(race.counts) < 20000
    assert race.certificate.valid
    assert race.certificate.bound == 0.0
    assert min(race.counts) < max(race.counts)
    same = eliminate_rhos(model, loss, rows, 0.5, horizon=20000, **options)
    assert (same.counts, same.rho) == (race.counts, race.rho)
    short = eliminate_rhos(model, loss, rows, 0.5, horizon=30, **options)
    assert sum(short.counts) == 30
    assert short.active == options["rhos"]
    assert short.certificate.bound > 0.0


def test_arguments_of_the_elimination():
    model, x = _case()
    given = {"model": model, "loss": _share, "samples": list(x), "sparsity": 0.5, "calibration": [x]}
    for change, words in (
        ({"samples": []}, "samples must hold at least one"),
        ({"horizon": 0}, "horizon must be"),
        ({"noise_std": 0.0}, "noise_std must be"),
        ({"alpha": 1.0}, "alpha must be"),
        ({"rhos": (3.0,)}, "rhos must be"),
    ):
        with pytest.raises(ValueError, match=words):
            eliminate_rhos(**{**given, "horizon": 10, "noise_std": 1.0, **change})
