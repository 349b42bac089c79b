import json
import math
from dataclasses import replace

import numpy as np
import pytest
from observers import counting, interrupt_after, numbers

from sparsetheory.experiments.sweep import run_claim
from sparsetheory.proofs_checks import Measurement


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_interrupt_keeps_finished_trials(norms, tmp_path, n_jobs):
    with pytest.raises(KeyboardInterrupt):
        run_claim(norms, out=tmp_path, n_jobs=n_jobs, progress=interrupt_after(5))
    assert len((tmp_path / "data" / "toys.norms.jsonl").read_text().splitlines()) == 6
    resumed = run_claim(norms, out=tmp_path, n_jobs=n_jobs, resume=True)
    assert numbers(resumed) == numbers(run_claim(norms))


def test_resume_computes_only_what_is_missing(norms, tmp_path):
    claim, calls = counting(norms)
    with pytest.raises(KeyboardInterrupt):
        run_claim(claim, out=tmp_path, progress=interrupt_after(5))
    assert len(calls) == 5
    seen = []
    run_claim(claim, out=tmp_path, resume=True, progress=seen.append)
    assert len(calls) == len(seen) == 12


def test_resume_drops_a_truncated_line(norms, tmp_path):
    claim, calls = counting(norms)
    complete = run_claim(claim, out=tmp_path)
    calls.clear()
    file = tmp_path / "data" / "toys.norms.jsonl"
    file.write_text(file.read_text()[:-30])
    assert numbers(run_claim(claim, out=tmp_path, resume=True)) == numbers(complete)
    assert len(calls) == 1


@pytest.mark.parametrize(("change", "named"), [({"seed": 1}, "seed"), ({"profile": "full"}, "profile")])
def test_resume_of_another_run_is_refused(norms, tmp_path, change, named):
    run_claim(norms, out=tmp_path)
    with pytest.raises(ValueError, match=f"its {named} is"):
        run_claim(norms, out=tmp_path, resume=True, **change)


def test_resume_with_other_versions_is_refused(norms, tmp_path, monkeypatch):
    run_claim(norms, out=tmp_path)
    monkeypatch.setattr("sparsetheory.__version__", "9.9")
    with pytest.raises(ValueError, match="its versions is"):
        run_claim(norms, out=tmp_path, resume=True)


def test_without_resume_the_file_is_overwritten(norms, tmp_path):
    run_claim(norms, out=tmp_path, seed=1)
    run_claim(norms, out=tmp_path)
    header, *rows = map(json.loads, (tmp_path / "data" / "toys.norms.jsonl").read_text().splitlines())
    assert header["seed"] == 0
    assert len(rows) == 12


def test_nan_and_infinity_survive_the_file(norms, tmp_path):
    claim = replace(
        norms, evaluate=lambda x: Measurement(np.float32(np.nan), np.inf, extras={"low": -np.inf, "count": np.int64(3)})
    )
    claim, calls = counting(claim)
    run_claim(claim, out=tmp_path)
    calls.clear()
    rows = run_claim(claim, out=tmp_path, resume=True).rows
    assert not calls
    for row in rows:
        assert math.isnan(row.measurement.measured)
        assert row.measurement.bound == np.inf
        assert row.measurement.extras == {"low": -np.inf, "count": 3.0}


def test_further_inequalities_survive_the_file(norms, tmp_path):
    claim = replace(norms, evaluate=lambda x: replace(norms.evaluate(x), also=(("half", "bound"),)))
    complete = run_claim(claim, out=tmp_path)
    assert complete.rows[0].measurement.also == (("half", "bound"),)
    assert numbers(run_claim(claim, out=tmp_path, resume=True)) == numbers(complete)
