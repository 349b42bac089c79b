import json
from dataclasses import replace

import joblib
import numpy as np
import pytest
from observers import numbers
from toys import toy_claims

from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.sweep import run_claim
from sparsetheory.experiments.trial import TrialError, plan_trials
from sparsetheory.proofs_checks import Measurement


def without_times(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line.pop("seconds", None)
    return [json.dumps(line) for line in lines]


def test_rows_do_not_depend_on_the_number_of_workers(norms, tmp_path):
    alone = run_claim(norms, n_jobs=1, out=tmp_path / "alone")
    together = run_claim(norms, n_jobs=2, out=tmp_path / "together")
    assert numbers(alone) == numbers(together)
    file = "data/toys.norms.jsonl"
    assert without_times(tmp_path / "alone" / file) == without_times(tmp_path / "together" / file)


def test_lambdas_reach_the_workers(norms):
    shifted = replace(norms, evaluate=lambda x: Measurement(float(np.abs(x).max()) - 1.0, 0.0))
    assert numbers(run_claim(shifted, n_jobs=2)) == numbers(run_claim(shifted, n_jobs=1))


def test_a_backend_without_generators_gives_the_same_rows(norms):
    with joblib.parallel_config("multiprocessing"):
        result = run_claim(norms, n_jobs=2)
    assert numbers(result) == numbers(run_claim(norms))


def test_a_trial_is_reproducible_alone(norms):
    row = run_claim(norms).rows[5]
    entropy, spawn_key = list(row.seed[:2]), row.seed[2:]
    rng = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=spawn_key))
    assert norms.evaluate(norms.sweep.draw(rng, row.value)) == row.measurement


def test_quick_trials_are_the_first_full_trials(norms):
    full = {trial.key for trial in plan_trials(norms, Profile.full, 0)}
    assert {trial.key for trial in plan_trials(norms, Profile.quick, 0)} < full


def test_the_number_of_trials_can_be_chosen(norms):
    two = run_claim(norms, trials=2)
    assert numbers(two) == [row for i, row in enumerate(numbers(run_claim(norms))) if i % norms.sweep.quick_trials < 2]
    assert len(numbers(run_claim(norms, profile="full", trials=2))) == 2 * len(norms.sweep.values)
    with pytest.raises(ValueError, match=r"trials must be an integer from 1 to .*; got 0"):
        run_claim(norms, trials=0)


def test_seeds_and_names_separate_streams(norms):
    keys = [
        trial.key
        for claim in (norms, replace(norms, name="toys.other"))
        for seed in (0, 1)
        for trial in plan_trials(claim, Profile.quick, seed)
    ]
    assert len(set(keys)) == len(keys) == 48


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_names_its_trial(norms, n_jobs):
    with pytest.raises(TrialError, match=r"ZeroDivisionError: no eight \(value 8, trial \d"):
        run_claim(replace(norms, evaluate=toy_claims.fails_at_eight), n_jobs=n_jobs)


def test_claims_without_a_sweep_are_refused(triangle):
    with pytest.raises(ValueError, match="has no sweep"):
        triangle.run()


def test_claim_run_is_run_claim(norms):
    assert numbers(norms.run(seed=3)) == numbers(run_claim(norms, seed=3))


@pytest.mark.slow
@pytest.mark.distributed
def test_dask_gives_the_same_rows(norms):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        result = run_claim(norms, n_jobs=-1)
    assert numbers(result) == numbers(run_claim(norms))
