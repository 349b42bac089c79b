"""Workers: killed ones are reported, none outlives its run, and what they lack is named."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from toys import toy_claims

from sparsetheory.experiments.check_job import check_claims
from sparsetheory.experiments.extras import explain_missing, is_missing_extra
from sparsetheory.experiments.job import reproduce
from sparsetheory.experiments.schedule import Task, WorkerDiedError, finished_tasks
from sparsetheory.experiments.sweep import run_claim
from sparsetheory.experiments.trial import MissingExtraError
from sparsetheory.experiments.workers import Reference, refer
from sparsetheory.proofs_checks import State, all_claims


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    monkeypatch.setattr("sparsetheory.experiments.display.figures.find_spec", lambda name: None)


def test_a_killed_worker_is_one_line(energy):
    dying = replace(energy, evaluate=toy_claims.kills_its_process_at_1024)
    with pytest.raises(WorkerDiedError, match=r"a worker process was killed.*\(--n-jobs\)"):
        run_claim(dying, n_jobs=2)


def test_claims_are_found_by_name():
    claim = all_claims()["turbo_vbi.lock"]
    assert refer(claim).resolve() is claim
    assert refer(replace(claim)) is None


def test_what_a_worker_cannot_import_is_run_here(monkeypatch):
    monkeypatch.setitem(sys.modules, "only_here", toy_claims)
    task = Task(3, toy_claims.name_of, (Reference("only_here", "norms"),))
    with finished_tasks([task] * 3, 2) as answers:
        assert list(answers) == [(3, "toys.norms")] * 3


def test_instances_do_not_depend_on_the_number_of_workers():
    claims = [all_claims()[name] for name in ("turbo_vbi.lock", "concatenated_svd.bin_packing")]
    alone, together = (check_claims(claims, 8, seed=3, n_jobs=n_jobs) for n_jobs in (1, 2))
    assert [judgement for _, judgement, _ in alone] == [judgement for _, judgement, _ in together]


def test_the_tightest_instance_is_reported(triangle):
    ((_, judgement, _),) = check_claims([triangle], 50)
    assert judgement.tightest == 1.0


def _misses_cvxpy(vector):
    raise ModuleNotFoundError("No module named 'cvxpy'", name="cvxpy")


def test_a_claim_without_its_extra_is_not_run_and_does_not_fail(norms, energy, tmp_path):
    lacking = replace(norms, evaluate=_misses_cvxpy)
    with pytest.raises(MissingExtraError, match=r"sparsetheory\[convex\]"):
        run_claim(lacking)
    findings = reproduce([lacking, energy], out=tmp_path)
    assert [outcome.judgement.state for outcome in findings.outcomes] == [State.NOT_RUN, State.HOLDS]
    assert not findings
    assert findings.status() == 2
    page = (tmp_path / "report.html").read_text()
    assert "1 of 2 claims hold, 1 not run" in page
    assert "No module named &#39;cvxpy&#39;; it comes with the extra sparsetheory[convex]" in page


def _draws_with_cvxpy(rng, value):
    raise ModuleNotFoundError("No module named 'cvxpy'", name="cvxpy")


def test_instances_that_hold_do_not_hide_a_sweep_that_was_not_run(norms, tmp_path):
    lacking = replace(norms, sweep=replace(norms.sweep, draw=_draws_with_cvxpy))
    (outcome,) = reproduce([lacking], out=tmp_path).outcomes
    assert outcome.judgement.state is State.NOT_RUN
    assert outcome.judgement.evidence.startswith("no counterexample in")


def _misses_its_weights(profile):
    raise ImportError("the weights need the extra: pip install 'sparsetheory[examples]'")


def test_a_study_without_its_extra_is_left_out(norms, letters, tmp_path):
    findings = reproduce([norms], [replace(letters, run=_misses_its_weights)], out=tmp_path)
    assert findings
    assert findings.status() == 2
    assert "Left out: the weights need the extra" in (tmp_path / "report.html").read_text()


def _divides_by_zero(profile):
    return 1 / 0


def test_a_study_with_a_mistake_is_reported_and_the_claims_go_on(norms, letters, tmp_path):
    findings = reproduce([norms], [replace(letters, run=_divides_by_zero)], out=tmp_path)
    assert findings.status() == 2
    assert "Left out: ZeroDivisionError: division by zero" in (tmp_path / "report.html").read_text()


def test_an_import_that_is_our_own_mistake_fails(norms, tmp_path):
    def misspelt(vector):
        from sparsetheory.lowrank import no_such_name  # noqa: F401

    findings = reproduce([replace(norms, evaluate=misspelt)], out=tmp_path)
    assert findings.outcomes[0].judgement.state is State.FAILS


@pytest.mark.parametrize(
    ("module", "extra"), [("PIL.Image", "plots"), ("torch", "gpu"), ("skimage", "examples"), ("dask", "distributed")]
)
def test_extras_are_named(module, extra):
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert is_missing_extra(error)
    assert explain_missing(error).endswith(f"the extra sparsetheory[{extra}]")


def test_an_unknown_package_is_named_without_an_extra():
    assert explain_missing(ImportError("no such thing", name="such")) == "no such thing"
    assert not is_missing_extra(ValueError("no"))


_RUN = """
import os
import time
from dataclasses import replace
from pathlib import Path
from toys.toy_claims import energy
from sparsetheory.cli import _interruptible
from sparsetheory.experiments.job import reproduce

def slow(vector):
    Path(f"started-{os.getpid()}").touch()
    time.sleep(30)

with _interruptible("Kept."):
    reproduce([replace(energy, evaluate=slow)], out=Path("r"), n_jobs=2)
"""


def _children(parent):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def _wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split(")")[-1].split()[0] != "Z"
    except OSError:
        return False


def _hear_interrupts():
    # Whoever runs the tests in the background has shells ignore interrupts, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_run(number, tmp_path):
    (tmp_path / "run.py").write_text(f"import sys\nsys.path[:0] = {sys.path!r}\n{_RUN}")
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    run = subprocess.Popen(
        [sys.executable, "run.py"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=_hear_interrupts,
    )  # fmt: skip
    _wait_until(lambda: len(list(tmp_path.glob("started-*"))) == 2)
    workers = _children(run.pid)
    assert len(workers) >= 2
    run.send_signal(number)
    errors = run.communicate(timeout=60)[1]
    _wait_until(lambda: not any(map(_alive, workers)), 20)
    word = {signal.SIGTERM: "Terminated. Kept.", signal.SIGINT: "Interrupted. Kept.", signal.SIGKILL: ""}[number]
    assert word in errors
