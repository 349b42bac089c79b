import hashlib
import json
import math
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from sparsetheory.cli import app
from sparsetheory.gpu import compress_directory
from sparsetheory.gpu.compression.change import output_change
from sparsetheory.gpu.compression.directory import load_directory, read_texts
from sparsetheory.gpu.weights import FewRowsWarning


def _digest(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _weights(folder):
    return load_directory(folder).model.state_dict()


def test_the_command_writes_a_model_that_loads_and_gives_the_reported_numbers(
    tmp_path, encoder_folder, texts, fresh_texts
):
    before = _digest(encoder_folder)
    calibration, held_out, out = tmp_path / "texts.txt", tmp_path / "fresh.jsonl", tmp_path / "out"
    calibration.write_text("\n".join(texts) + "\n\n")
    held_out.write_text("\n".join(json.dumps({"text": text}) for text in fresh_texts))
    command = ["compress", str(encoder_folder), "--calibration", str(calibration), "--held-out", str(held_out)]
    done = CliRunner().invoke(app, [*command, "--pattern", "2:4", "--out", str(out), "--n-jobs", "1"])
    assert done.exit_code == 0, done.output
    assert "valid" in done.output
    assert _digest(encoder_folder) == before
    report = json.loads((out / "report.json").read_text())
    assert len(report["layers"]) == 12
    assert (out / "1_Pooling" / "config.json").exists()
    page = (out / "report.html").read_text()
    assert page.count("<tr>") == 2 + 2 * 12
    assert "data:image/png;base64," in page
    # The exported model is that of the report.
    loaded, dense = load_directory(out), load_directory(encoder_folder).model
    model, batches = loaded.model, loaded.batches(fresh_texts)
    change = output_change(dense, model, batches)
    assert change.relative_error == pytest.approx(report["quality"]["output error"], rel=1e-6)
    assert change.mean_cosine == pytest.approx(report["quality"]["output cosine"], rel=1e-6)
    for layer in report["layers"]:
        assert int((model.get_submodule(layer["name"]).weight != 0).sum()) == layer["n_nonzero"]
        assert layer["density"] == 0.5


def test_a_decoder_reports_its_perplexity_and_keeps_its_tied_head(tmp_path, decoder_folder, texts):
    report = compress_directory(decoder_folder, texts, "50%", tmp_path / "out")
    assert len(report.layers) == 7
    loaded, model = load_directory(decoder_folder), load_directory(tmp_path / "out").model
    dense = loaded.model
    assert torch.equal(model.lm_head.weight, dense.lm_head.weight)
    loss, count = 0.0, 0
    for batch in loaded.batches(texts):
        for ids, kept in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            ids = ids[kept == 1]
            with torch.no_grad():
                logits = model(ids[None]).logits[0, :-1]
            loss -= float(logits.log_softmax(1).gather(1, ids[1:, None]).sum())
            count += len(ids) - 1
    assert report.quality["perplexity"] == pytest.approx(torch.tensor(loss / count).exp().item(), rel=1e-4)
    assert report.quality["dense perplexity"] < report.quality["perplexity"] * 1.5


_KILLED = """
import os, signal, sys
from sparsetheory.gpu import compress_directory
from sparsetheory.gpu.compression.checkpoint import Checkpoint
from sparsetheory.gpu.compression.directory import read_texts
save, saved = Checkpoint.save, []
def dying(self, layer):
    if len(saved) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, layer)
    saved.append(layer)
Checkpoint.save = dying
compress_directory(sys.argv[1], read_texts(sys.argv[2]), "2:4", sys.argv[3])
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_identical_weights(tmp_path, encoder_folder, texts):
    calibration = tmp_path / "texts.txt"
    calibration.write_text("\n".join(texts))
    command = [sys.executable, "-c", _KILLED, str(encoder_folder), str(calibration), str(tmp_path / "killed")]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "killed" / "checkpoint").glob("*.layer"))) == 5
    with pytest.raises(ValueError, match="out must be empty unless resume is set"):
        compress_directory(encoder_folder, texts, "2:4", tmp_path / "killed")
    compress_directory(encoder_folder, texts, "2:4", tmp_path / "killed", resume=True)
    compress_directory(encoder_folder, texts, "2:4", tmp_path / "whole")
    killed, whole = _weights(tmp_path / "killed"), _weights(tmp_path / "whole")
    assert killed.keys() == whole.keys()
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--layers", "encoder.layer.0.attention.self.qery"],
            "layers must name linear or convolutional layers",
        ),
        (["--pattern", "2:3"], "along axis -1 for 2:3"),
        (["--pattern", "two"], "pattern must be like 2:4"),
        (["--method", "magic"], "method must be"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, encoder_folder, texts, arguments, message):
    calibration = tmp_path / "texts.txt"
    calibration.write_text("\n".join(texts))
    command = ["compress", str(encoder_folder), "--calibration", str(calibration), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*command, *arguments])
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr


def test_folders_that_would_be_overwritten_are_refused(tmp_path, encoder_folder, texts):
    for out in (encoder_folder, encoder_folder / "inside"):
        with pytest.raises(ValueError, match="out must lie outside"):
            compress_directory(encoder_folder, texts, "2:4", out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match="out must be empty"):
        compress_directory(encoder_folder, texts, "2:4", tmp_path / "full")
    with pytest.raises(FileNotFoundError, match=r"model_dir must hold a config.json"):
        compress_directory(tmp_path / "full", texts, "2:4", tmp_path / "out")
    with pytest.raises(ValueError, match="calibration must hold at least 1 text"):
        compress_directory(encoder_folder, [], "2:4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_of_texts(tmp_path):
    lines = tmp_path / "texts.txt"
    lines.write_text("one\n\n two \n")
    assert read_texts(lines) == ["one", "two"]
    objects = tmp_path / "texts.jsonl"
    objects.write_text('{"text": "a\\nb"}\n')
    assert read_texts(objects) == ["a\nb"]
    objects.write_text('{"body": "a"}\n')
    with pytest.raises(ValueError, match='must be an object with "text"'):
        read_texts(objects)
    lines.write_text("\n")
    with pytest.raises(ValueError, match="must hold at least 1 text"):
        read_texts(lines)


def test_a_missing_extra_is_named(monkeypatch, tmp_path, encoder_folder, texts):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"sparsetheory\[hf\]"):
        compress_directory(encoder_folder, texts, "2:4", tmp_path / "out")


def _config(text):
    return lambda folder: (folder / "config.json").write_text(text)


def _cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:300])


def _without_tokenizer(folder):
    for path in folder.glob("*token*"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_config("{"), "config.json must be a JSON object"),
        (_config("[]"), "config.json must be a JSON object"),
        (_config("{}"), "must list a class of transformers under architectures; got None"),
        (_config('{"architectures": "BertModel"}'), "got 'BertModel'"),
        (_config('{"architectures": ["AutoTokenizer"]}'), "got 'AutoTokenizer'"),
        (_cut, "the weights in"),
        (_without_tokenizer, "model_dir must hold a tokenizer"),
    ],
)
def test_a_damaged_folder_is_one_line(tmp_path, encoder_folder, texts, damage, message):
    folder = shutil.copytree(encoder_folder, tmp_path / "model")
    damage(folder)
    (tmp_path / "texts.txt").write_text("\n".join(texts[:5]))
    arguments = ["--calibration", str(tmp_path / "texts.txt"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["compress", str(folder), *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_texts_in_another_encoding_are_named(tmp_path):
    (tmp_path / "texts.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ValueError, match=r"texts\.txt must be text in UTF-8"):
        read_texts(tmp_path / "texts.txt")


def test_texts_of_one_token_have_no_perplexity(tmp_path, decoder_folder, texts):
    with pytest.warns(FewRowsWarning):
        report = compress_directory(decoder_folder, texts[:4], "2:4", tmp_path / "out", max_length=1, n_jobs=1)
    assert math.isnan(report.quality["perplexity"])
