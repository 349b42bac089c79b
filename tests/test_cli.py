import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sparsetheory import __version__
from sparsetheory.cli import app
from sparsetheory.experiments import job, warmup
from sparsetheory.experiments.schedule import WorkerDiedError
from sparsetheory.experiments.storage.files import used_alone
from sparsetheory.proofs_checks import ScalesAs, WithProbability, registry


@pytest.fixture(autouse=True)
def _only_toys(monkeypatch, tmp_path):
    toys = Path(__file__).parent / "experiments" / "toys"
    monkeypatch.setattr(registry.root, "__path__", [str(toys)])
    monkeypatch.delitem(sys.modules, "sparsetheory.proofs_checks.toy_claims", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def sparsetheory(*arguments):
    return CliRunner().invoke(app, arguments)


def test_version():
    assert sparsetheory("--version").output == f"sparsetheory {__version__}\n"


def test_help_imports_nothing_heavy():
    code = "import sys, sparsetheory.cli; assert not {'numpy', 'joblib', 'hypothesis'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_module_runs_as_a_program():
    command = [sys.executable, "-m", "sparsetheory", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"sparsetheory {__version__}\n"


def test_list_shows_claims():
    output = sparsetheory("list").output
    assert "toys.norms" in output
    assert "ScalesAs" in output
    assert "[vectors]" in output
    assert r"\|x\|_\infty \le \|x\|_2" in output


def test_in_a_pipe_a_claim_is_one_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    lines = sparsetheory("list").output.splitlines()
    assert len(lines) == 4
    assert lines == sparsetheory("list", "--plain").output.splitlines()
    assert lines[0].split("\t")[:3] == ["toys.norms", "Always", "classic"]
    assert lines[3].startswith("toys.letters\tStudy\t")


def test_on_a_terminal_the_list_is_a_table(monkeypatch):
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setattr(sys.modules["sparsetheory.cli"], "_is_terminal", lambda: True)
    output = re.sub(r"\x1b\[\d+m", "", sparsetheory("list", "toys.norms").output)
    assert output.split() == [
        "name",
        "verdict",
        "provenance",
        "source",
        "toys.norms",
        "Always",
        "classic",
        "folklore,",
        "norms",
        "<of>",
        "[vectors]",
    ]


@pytest.mark.parametrize("width", [30, 60, 100])
def test_on_any_terminal_a_claim_is_one_line(monkeypatch, width):
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setattr(sys.modules["sparsetheory.cli"], "_is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    lines = re.sub(r"\x1b\[\d+m", "", sparsetheory("list").output).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["toys.norms", "toys.energy", "toys.triangle", "toys.letters"]


def test_show_says_all_that_is_known():
    output = sparsetheory("show", "toys.norms").output
    assert "‖x‖_∞ ≤ ‖x‖_2" in output
    assert "folklore, norms <of> [vectors] [classic]" in output
    assert "Swapped norms." in output
    assert "None in this folder" in output
    assert "size: 2, 8, 32; 4 trials a value" in output
    assert "The bound times 2." in sparsetheory("show", "toys.energy").output


def test_show_knows_the_last_result():
    assert sparsetheory("reproduce", "--n-jobs", "1", "toys.norms", "--out", "kept").exit_code == 0
    output = sparsetheory("show", "toys.norms", "--out", "kept").output
    assert "holds: no counterexample" in output
    assert "quick profile, seed 0" in output


def test_show_wants_one_claim():
    result = sparsetheory("show", "toys.*")
    assert result.exit_code == 2
    assert "'toys.*' matches 3 claims: toys.norms, toys.energy, toys.triangle" in result.output
    assert "did you mean toys.norms" in sparsetheory("show", "toys.norm").output


def test_list_as_json():
    entries = json.loads(sparsetheory("list", "--json", "toys.*g*").output)
    assert [entry["name"] for entry in entries] == ["toys.energy", "toys.triangle"]
    assert entries[1]["statement"] == r"|a + b| \le |a| + |b|"


def test_reproduce_writes_everything():
    result = sparsetheory("reproduce", "--n-jobs", "1")
    assert result.exit_code == 0, result.output
    assert "Letters & words" in result.output
    written = {str(path) for path in Path("results").rglob("*.*")}
    assert written >= {"results/report.html", "results/data/toys.norms.jsonl", "results/figures/toys.energy.png"}


def test_reproduce_of_a_near_miss_fails(monkeypatch):
    claim = registry.all_claims()["toys.norms"]
    wrong = replace(claim, evaluate=claim.evaluate_near_miss)
    monkeypatch.setattr(registry, "find_experiments", lambda patterns: ([wrong], []))
    result = sparsetheory("reproduce", "--n-jobs", "1")
    assert result.exit_code == 1
    assert "FAILS" in result.output


def test_the_exit_status_is_documented():
    assert "1 a claim fails, 2 something could not run" in " ".join(sparsetheory("reproduce", "--help").output.split())
    assert "2 something could not run or nothing was" in " ".join(sparsetheory("check", "--help").output.split())


def _with_verdict(monkeypatch, verdict):
    claim = replace(registry.all_claims()["toys.energy"], verdict=verdict)
    monkeypatch.setattr(registry, "find_experiments", lambda patterns: ([claim], []))


def test_undecided_claims_are_named_and_fail_on_demand(monkeypatch):
    _with_verdict(monkeypatch, WithProbability(0.5, margin=0.01))
    result = sparsetheory("reproduce", "--n-jobs", "1")
    assert result.exit_code == 0
    assert "0 hold; 1 UNDECIDED: toys.energy" in result.output
    assert sparsetheory("reproduce", "--n-jobs", "1", "--strict").exit_code == 1


def test_a_refuted_claim_fails(monkeypatch):
    _with_verdict(monkeypatch, ScalesAs(7.0, tol=0.1))
    result = sparsetheory("reproduce", "--n-jobs", "1")
    assert result.exit_code == 1
    assert "1 FAILS: toys.energy" in result.output


def test_a_missing_extra_is_named_and_the_report_written(monkeypatch):
    def lacking(instance):
        raise ModuleNotFoundError("No module named 'cvxpy'", name="cvxpy")

    claim = replace(registry.all_claims()["toys.triangle"], evaluate=lacking)
    monkeypatch.setattr(registry, "find_experiments", lambda patterns: ([claim], []))
    monkeypatch.setattr(registry, "find_claims", lambda patterns: [claim])
    result = sparsetheory("reproduce", "--n-jobs", "1")
    assert result.exit_code == 2
    assert "1 not run: toys.triangle" in result.output
    assert "sparsetheory[convex]" in Path("results/report.html").read_text()
    assert sparsetheory("check", "--n-jobs", "1").exit_code == 2


def test_a_folder_that_cannot_be_written_is_one_line():
    Path("afile").touch()
    result = sparsetheory("reproduce", "--out", "afile", "--n-jobs", "1")
    assert result.exit_code == 2
    assert result.output.splitlines() == ["Error: cannot write afile: File exists"]


def test_a_folder_in_use_is_one_line():
    Path("results").mkdir()
    with used_alone(Path("results")):
        result = sparsetheory("reproduce", "toys.norms", "--n-jobs", "1")
    assert result.exit_code == 2
    assert result.output.startswith("Error: results is in use by another run")


def test_a_damaged_line_is_reported_in_one_line():
    assert sparsetheory("reproduce", "toys.norms", "--n-jobs", "1").exit_code == 0
    path = Path("results/data/toys.norms.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], '{"value": 3, "tri\n', *lines[5:]]))
    result = sparsetheory("reproduce", "toys.norms", "--n-jobs", "1", "--resume")
    assert result.exit_code == 0
    line = f"Warning: {path}, line 5: damaged; what is missing is computed again"
    assert line in result.output.splitlines()


def test_a_dead_worker_is_one_line(monkeypatch):
    def die(*arguments, **options):
        raise WorkerDiedError("a worker process was killed")

    monkeypatch.setattr(job, "reproduce", die)
    result = sparsetheory("reproduce")
    assert result.exit_code == 2
    assert result.output.splitlines() == [
        "Error: a worker process was killed. Finished trials are kept in results/data; --resume continues."
    ]


def test_a_terminal_without_unicode_gets_the_report_and_the_table(tmp_path):
    code = (
        "import sys; sys.path[:0] = {paths!r}\n"
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from toys.toy_claims import energy\n"
        "from sparsetheory.experiments.display import figures\n"
        "from sparsetheory.experiments import job\n"
        "figures.find_spec = lambda name: None\n"
        "job.reproduce([replace(energy, name='toys.größe')], out=Path('r'))\n"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", code.format(paths=sys.path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "toys.gr??e" in done.stdout
    assert " +- " in done.stdout
    assert (tmp_path / "r" / "report.html").exists()


@pytest.mark.parametrize("command", ["reproduce", "check", "list", "show"])
def test_a_mistyped_name_gets_the_closest_ones(command):
    for typed in ("toys.nroms", "norms"):
        result = sparsetheory(command, typed)
        assert result.exit_code == 2
        (line,) = result.output.splitlines()
        assert "did you mean toys.norms" in line
        assert "`sparsetheory list` shows all names" in line


@pytest.mark.parametrize("command", ["reproduce", "check", "list"])
def test_unknown_claims_are_refused(command):
    result = sparsetheory(command, "nothing.*")
    assert result.exit_code == 2
    assert "matches 'nothing.*'" in result.output


def test_reproduce_refuses_to_resume_another_run():
    assert sparsetheory("reproduce", "toys.norms", "--n-jobs", "1").exit_code == 0
    result = sparsetheory("reproduce", "toys.norms", "--n-jobs", "1", "--seed", "1", "--resume")
    assert result.exit_code == 2
    assert "its seed is 0, this run has 1" in result.output


def test_interrupt_says_how_to_continue(monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "reproduce", interrupt)
    result = sparsetheory("reproduce")
    assert result.exit_code == 130
    assert "--resume" in result.output


def test_sigterm_ends_a_run_as_an_interrupt_does(monkeypatch):
    def terminated(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(job, "reproduce", terminated)
    before = signal.getsignal(signal.SIGTERM)
    result = sparsetheory("reproduce")
    assert result.exit_code == 143
    assert "Terminated. Finished trials are kept in results/data; --resume continues." in result.output
    assert signal.getsignal(signal.SIGTERM) == before


def test_dask_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = sparsetheory("reproduce", "--dask", "tcp://127.0.0.1:1")
    assert result.exit_code == 2
    assert "sparsetheory[distributed]" in result.output


def test_check_passes_and_leaves_sweeps_alone():
    result = sparsetheory("check", "--max-examples", "20", "--n-jobs", "1")
    assert result.exit_code == 0
    assert "toys.energy is judged over a sweep" in result.output
    assert "2 hold" in result.output
    assert not Path(".hypothesis").exists()


def test_check_of_nothing_that_can_be_checked_is_an_error():
    result = sparsetheory("check", "toys.energy")
    assert result.exit_code == 2
    assert "0 claims checked" in result.output


@pytest.mark.parametrize("command", ["check", "reproduce"])
def test_no_workers_are_refused_in_one_line(command):
    result = sparsetheory(command, "--n-jobs", "0")
    assert result.exit_code == 2
    assert (
        result.output.splitlines()[-1]
        == "Error: n_jobs must be None or an integer other than 0, up to a million; got 0"
    )


def test_a_seed_draws_other_instances(monkeypatch):
    drawn = []
    claim = registry.all_claims()["toys.triangle"]
    watched = replace(claim, evaluate=lambda pair: drawn.append(pair) or claim.evaluate(pair))
    monkeypatch.setattr(registry, "find_claims", lambda patterns: [watched])
    runs = []
    for arguments in ([], [], ["--seed", "1"], ["--seed", "1"], ["--seed", "2"]):
        assert sparsetheory("check", "--n-jobs", "1", *arguments).exit_code == 0
        runs.append(tuple(drawn))
        drawn.clear()
    assert runs[0] == runs[1]
    assert runs[2] == runs[3]
    assert len(set(runs)) == 3


def test_check_of_a_near_miss_fails(monkeypatch):
    claim = registry.all_claims()["toys.triangle"]
    wrong = replace(claim, evaluate=claim.evaluate_near_miss)
    monkeypatch.setattr(registry, "find_claims", lambda patterns: [wrong])
    result = sparsetheory("check", "--n-jobs", "1")
    assert result.exit_code == 1
    assert "is violated" in result.output


def test_bench_runs_scripts():
    Path("benchmarks").mkdir()
    Path("benchmarks/norms.py").write_text("print('norms 3 ms')")
    Path("benchmarks/_timer.py").write_text("raise SystemExit('a helper')")
    assert "norms 3 ms" in sparsetheory("bench").output
    assert "norms 3 ms" in sparsetheory("bench", "norms").output
    Path("benchmarks/broken.py").write_text("raise SystemExit(3)")
    assert sparsetheory("bench").exit_code == 1


def test_bench_without_benchmarks_is_refused():
    result = sparsetheory("bench")
    assert result.exit_code == 2
    assert "no folder" in result.output


def test_warmup_times_every_module_that_has_one(monkeypatch):
    monkeypatch.setattr(warmup.root, "__path__", [str(Path.cwd())])
    Path("toy_kernels.py").write_text("def warmup(): print('compiled')")
    Path("toy_decorators.py").write_text("")
    result = sparsetheory("warmup")
    assert result.exit_code == 0
    assert "compiled\ntoy_kernels " in result.output
    assert "toy_decorators" not in result.output
