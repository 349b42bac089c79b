import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sparsetheory import __version__
from sparsetheory.cli import app
from sparsetheory.experiments import job, warmup
from sparsetheory.proofs_checks import registry


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


def test_list_shows_claims():
    output = sparsetheory("list").output
    assert "toys.norms" in output
    assert "ScalesAs" in output
    assert "[vectors]" in output
    assert r"\|x\|_\infty \le \|x\|_2" in output


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


def test_dask_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = sparsetheory("reproduce", "--dask", "tcp://127.0.0.1:1")
    assert result.exit_code == 2
    assert "sparsetheory[distributed]" in result.output


def test_check_passes_and_leaves_sweeps_alone():
    result = sparsetheory("check", "--max-examples", "20")
    assert result.exit_code == 0
    assert "toys.energy is judged over a sweep" in result.output


def test_check_of_a_near_miss_fails(monkeypatch):
    claim = registry.all_claims()["toys.triangle"]
    wrong = replace(claim, evaluate=claim.evaluate_near_miss)
    monkeypatch.setattr(registry, "find_claims", lambda patterns: [wrong])
    result = sparsetheory("check")
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
