"""The folder of results: nothing in it is lost, and what is wrong with it is said in one line."""

import fcntl
import json
import os
from dataclasses import replace

import pytest
from observers import counting, interrupt_after, numbers

from sparsetheory.experiments.job import reproduce
from sparsetheory.experiments.profile import Profile
from sparsetheory.experiments.storage import files
from sparsetheory.experiments.storage.files import FolderError, prepare_folder, replace_file, used_alone
from sparsetheory.experiments.storage.records import Origin
from sparsetheory.experiments.storage.trial_log import DamagedLog, ResumeError
from sparsetheory.experiments.sweep import run_claim

LOG = "data/toys.norms.jsonl"


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    # Drawing them takes longer than all else.
    monkeypatch.setattr("sparsetheory.experiments.display.figures.find_spec", lambda name: None)


def _lines(folder):
    return (folder / LOG).read_bytes().split(b"\n")


def _without(key):
    def damage(line):
        row = json.loads(line)
        del row[key]
        return json.dumps(row).encode()

    return damage


def _with(key, value):
    return lambda line: json.dumps(json.loads(line) | {key: value}).encode()


DAMAGES = {
    "cut": lambda line: line[:20],
    "blank": lambda line: b"",
    "zeros": lambda line: bytes(len(line)),
    "not UTF-8": lambda line: b"\xff\xfe" + line,
    "a list": lambda line: b"[1, 2]",
    "no bound": _without("bound"),
    "no seed": _without("seed"),
    "text for a number": _with("measured", "1.0"),
    "a seed that was not planned": _with("seed", [7, 7, 7, 7]),
    "another value": _with("value", 5),
    "extras of text": _with("extras", {"half": "x"}),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_line_costs_its_trial_and_nothing_else(norms, tmp_path, damage):
    claim, calls = counting(norms)
    complete = run_claim(claim, out=tmp_path)
    lines = _lines(tmp_path)
    lines[5] = damage(lines[5])
    (tmp_path / LOG).write_bytes(b"\n".join(lines))
    calls.clear()
    with pytest.warns(DamagedLog, match=r"toys\.norms\.jsonl, line 6: damaged"):
        resumed = run_claim(claim, out=tmp_path, resume=True)
    assert len(calls) == 1
    assert numbers(resumed) == numbers(complete)


@pytest.mark.parametrize("header", [b"[]", b"", b"{", b"\x00\x00"])
def test_a_damaged_header_cannot_be_resumed_and_is_kept(norms, tmp_path, header):
    run_claim(norms, out=tmp_path)
    (tmp_path / LOG).write_bytes(b"\n".join([header, *_lines(tmp_path)[1:]]))
    before = (tmp_path / LOG).read_bytes()
    with pytest.raises(ResumeError, match=r"cannot resume .*: line 1, the header, is damaged"):
        run_claim(norms, out=tmp_path, resume=True)
    assert (tmp_path / LOG).read_bytes() == before
    run_claim(norms, out=tmp_path)
    (kept,) = (tmp_path / "earlier").rglob("*.jsonl")
    assert kept.read_bytes() == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"profile": "full"}])
def test_results_of_another_run_are_moved_and_not_lost(norms, tmp_path, change):
    run_claim(norms, out=tmp_path, **change)
    before = (tmp_path / LOG).read_bytes()
    run_claim(norms, out=tmp_path)
    (kept,) = (tmp_path / "earlier").rglob("toys.norms.jsonl")
    assert kept.read_bytes() == before


def test_the_same_run_again_loses_nothing_when_it_is_interrupted(norms, tmp_path):
    complete = run_claim(norms, out=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_claim(norms, out=tmp_path, progress=interrupt_after(3))
    assert len(_lines(tmp_path)) == 1 + 12 + 3 + 1
    assert numbers(run_claim(norms, out=tmp_path, resume=True)) == numbers(complete)
    assert not (tmp_path / "earlier").exists()


def test_trials_of_other_code_are_refused(norms, tmp_path):
    other = replace(norms, evaluate=lambda x: replace(norms.evaluate(x), measured=-123.0))
    with pytest.raises(KeyboardInterrupt):
        run_claim(other, out=tmp_path, progress=interrupt_after(4))
    with pytest.raises(ResumeError, match="its code is"):
        run_claim(norms, out=tmp_path, resume=True)


def test_trials_of_another_installation_are_refused(norms, tmp_path, monkeypatch):
    run_claim(norms, out=tmp_path)
    header = json.loads(_lines(tmp_path)[0])
    assert {"sparsetheory", "numpy", "scipy", "scikit-learn", "numba", "python"} == set(header["versions"])
    monkeypatch.setattr("sparsetheory.experiments.storage.trial_log.code_hash", lambda: "0" * 12)
    with pytest.raises(ResumeError, match="its code is"):
        run_claim(norms, out=tmp_path, resume=True)


def test_a_file_in_place_of_the_folder_is_refused_before_any_work(norms, tmp_path):
    (tmp_path / "afile").touch()
    claim, calls = counting(norms)
    with pytest.raises(FolderError, match=r"cannot write .*afile"):
        reproduce([claim], out=tmp_path / "afile")
    assert not calls


@pytest.mark.parametrize("name", ["data", "figures", "records"])
def test_a_file_in_place_of_a_subfolder_is_refused_before_any_work(norms, tmp_path, name):
    (tmp_path / name).touch()
    claim, calls = counting(norms)
    with pytest.raises(FolderError, match=f"cannot write .*{name}"):
        reproduce([claim], out=tmp_path)
    assert not calls


def test_a_nearly_full_disk_is_refused_before_any_work(norms, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FolderError, match=r"0\.0 MB are free, the results may take 0\.4"):
        prepare_folder(tmp_path)


def test_a_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    replace_file(path, "old")

    def full(source, target):
        raise OSError(28, "No space left on device", str(source))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(FolderError, match=r"cannot write .*report\.html: No space left on device"):
        replace_file(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_in_use_is_refused(norms, tmp_path):
    prepare_folder(tmp_path)
    with used_alone(tmp_path), pytest.raises(FolderError, match=f"is in use by another run .process {os.getpid()}"):
        run_claim(norms, out=tmp_path)
    run_claim(norms, out=tmp_path)


def test_a_lock_that_the_file_system_does_not_know_stops_nobody(tmp_path, monkeypatch):
    def unknown(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with used_alone(tmp_path), used_alone(tmp_path):
        pass


def test_the_report_keeps_what_earlier_runs_found(norms, energy, letters, tmp_path):
    assert reproduce([norms], [letters], out=tmp_path, seed=1)
    assert reproduce([energy], out=tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "1 of 1 claims hold" in page
    assert "2 further results are of earlier runs" in page
    assert page.count("quick profile, seed 1, code") == 2
    assert 'id="toys.norms"' in page
    assert "Letters &amp; words" in page


def test_a_damaged_record_costs_its_entry_in_the_report(norms, energy, tmp_path):
    assert reproduce([norms], out=tmp_path)
    (tmp_path / "records" / "toys.norms.json").write_text("{")
    assert reproduce([energy], out=tmp_path)
    assert 'id="toys.norms"' not in (tmp_path / "report.html").read_text()


def test_a_run_of_another_kind_moves_data_record_and_figure(norms, tmp_path):
    assert reproduce([norms], out=tmp_path, seed=1)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "toys.norms.png").touch()
    assert reproduce([norms], out=tmp_path)
    moved = {path.name for path in (tmp_path / "earlier").rglob("*.*")}
    assert moved == {"toys.norms.jsonl", "toys.norms.json", "toys.norms.png"}


@pytest.mark.parametrize(
    "change", [{"profile": "full"}, {"seed": 1}, {"code": "0"}, {"versions": {"numpy": "0"}}], ids=str
)
def test_a_record_of_another_run_is_known_by_all_that_describes_it(change):
    origin = Origin.of_run(Profile.quick, 0)
    assert origin.same_run(replace(origin, written="another time"))
    assert not origin.same_run(replace(origin, **change))


def test_the_same_run_twice_moves_nothing(norms, letters, tmp_path):
    for _ in range(2):
        assert reproduce([norms], [letters], out=tmp_path)
    assert not (tmp_path / "earlier").exists()


def test_nothing_is_lost_when_the_disk_fills_up_on_the_way(norms, tmp_path, monkeypatch):
    written = []
    append = files.append_text

    def full(path, text):
        if len(written) == 5:
            raise FolderError(f"cannot write {path}: No space left on device")
        written.append(text)
        append(path, text)

    monkeypatch.setattr("sparsetheory.experiments.storage.trial_log.append_text", full)
    with pytest.raises(FolderError, match="No space left on device"):
        reproduce([norms], out=tmp_path)
    monkeypatch.undo()
    assert len(_lines(tmp_path)) == 7
    seen = []
    assert run_claim(norms, out=tmp_path, resume=True, progress=seen.append).verdict.holds
    assert len(seen) == 12
