"""The search for the dimension that training needs."""

import json

import matplotlib as mpl
import pytest

from sparsetheory.gpu.dimension import intrinsic_dimension

mpl.use("Agg")


def _jump(at):
    return lambda size, seed: float(size >= at)


@pytest.mark.parametrize("at", [2, 3, 10, 11, 37, 79, 80])
def test_it_finds_the_first_dimension_that_passes(at):
    found = intrinsic_dimension(_jump(at), 1.0, [80, 1, 5, 20], n_repeats=1)
    assert found.n_components == at
    assert found.curve[at] == (1.0,)
    assert found.curve[at - 1] == (0.0,)
    assert list(found.curve) == sorted(found.curve)


def test_a_coarse_search_ends_early_above_the_dimension():
    found = intrinsic_dimension(_jump(37), 1.0, [10, 90], resolution=10)
    assert 37 <= found.n_components < 47
    assert len(found.curve) == 5


def test_nothing_is_extrapolated():
    found = intrinsic_dimension(_jump(81), 1.0, [5, 20, 80])
    assert found.n_components is None
    assert list(found.curve) == [5, 20, 80]
    assert intrinsic_dimension(_jump(3), 1.0, [5, 20, 80]).n_components == 5


def test_the_threshold_itself_is_reached():
    found = intrinsic_dimension(lambda size, seed: 0.25 * size, 1.0, [1, 2, 3], fraction=0.5, n_repeats=1)
    assert (found.n_components, found.threshold) == (2, 0.5)


def test_the_search_stays_between_the_last_failure_and_the_first_success():
    found = intrinsic_dimension(_jump(82), 1.0, [10, 40, 160], n_repeats=1)
    assert sorted(found.curve)[:3] == [10, 40, 70]
    assert 100 in found.curve


def test_means_over_runs_decide_against_the_share_of_the_baseline():
    seen = []

    def train_eval(size, seed):
        seen.append((size, seed))
        return size / 100 + (0.2 if len(seen) % 2 else -0.2)

    found = intrinsic_dimension(train_eval, 0.8, [10, 80], fraction=0.545, n_repeats=2)
    # One run of each pair is 0.2 too high, the other one 0.2 too low: means are size / 100.
    assert found.n_components == 44
    assert found.threshold == pytest.approx(0.436)
    seeds = [seed for _, seed in seen]
    assert seeds[0] != seeds[1]
    assert seeds == seeds[:2] * (len(seeds) // 2)


def test_seeds_are_those_of_the_random_state():
    def seeds_of(random_state):
        seen = set()
        intrinsic_dimension(lambda size, seed: seen.add(seed) or 1.0, 1.0, [2], n_repeats=3, random_state=random_state)
        return seen

    assert seeds_of(0) == seeds_of(0) != seeds_of(1)
    assert len(seeds_of(0)) == 3


def test_an_interrupted_search_keeps_what_it_measured(tmp_path):
    file, calls = tmp_path / "runs.jsonl", []

    def train_eval(size, seed, stop):
        if len(calls) == stop:
            raise KeyboardInterrupt
        calls.append((size, seed))
        return _jump(37)(size, seed)

    grid = [10, 40, 160]
    with pytest.raises(KeyboardInterrupt):
        intrinsic_dimension(lambda *run: train_eval(*run, 5), 1.0, grid, checkpoint=file)
    assert len(file.read_text().splitlines()) == 5
    # The line that was being written is lost, and no other.
    file.write_text(file.read_text() + '{"n_comp')
    found = intrinsic_dimension(lambda *run: train_eval(*run, 10**9), 1.0, grid, checkpoint=file, resume=True)
    assert len(calls) == len(set(calls)) == 2 * len(found.curve)
    assert found == intrinsic_dimension(_jump(37), 1.0, grid)
    assert all(json.loads(line)["seed"] >= 0 for line in file.read_text().splitlines())
    # Without resume the file begins anew.
    intrinsic_dimension(_jump(37), 1.0, [10], checkpoint=file)
    assert len(file.read_text().splitlines()) == 2


def test_a_run_that_diverges_fails_and_the_search_goes_on(tmp_path):
    def train_eval(size, seed):
        return float("nan") if size < 20 else 1.0

    file = tmp_path / "runs.jsonl"
    found = intrinsic_dimension(train_eval, 1.0, [4, 64], checkpoint=file)
    assert found.n_components == 20
    again = intrinsic_dimension(_jump(10**6), 1.0, [4, 64], checkpoint=file, resume=True)
    assert again == found


def test_the_bar_ends_with_the_search(capsys):
    intrinsic_dimension(_jump(37), 1.0, [10, 40, 160], verbose=True)
    assert "searching the intrinsic dimension" in capsys.readouterr().out
    intrinsic_dimension(_jump(37), 1.0, [10, 40, 160])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("at", [37, 1000])
def test_the_figure_shows_the_means_and_the_threshold(at):
    found = intrinsic_dimension(_jump(at), 1.0, [10, 40, 160], n_repeats=1)
    ax = found.plot()
    (line,) = [one for one in ax.lines if one.get_label() == "mean of runs"]
    assert list(line.get_xdata()) == list(found.curve)
    labels = [one.get_label() for one in ax.lines]
    assert "threshold 0.9" in labels
    assert ("intrinsic dimension 37" in labels) == (at == 37)
    assert found.plot(ax) is ax


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": 0.0}, "baseline must be a finite positive number; got 0.0"),
        ({"dims": []}, "dims must hold at least one dimension"),
        ({"dims": [4, 0]}, "dims must be an integer from 1"),
        ({"fraction": 1.5}, r"fraction must be a number in \(0, 1\]; got 1.5"),
        ({"n_repeats": 0}, "n_repeats must be an integer from 1"),
        ({"random_state": -1}, "random_state must be"),
        ({"resume": None}, "resume must be True or False"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        intrinsic_dimension(**{"train_eval": _jump(3), "baseline": 1.0, "dims": [2, 4], **options})
