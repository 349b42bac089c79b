import json

import numpy as np
import pytest
import torch
from torch import nn

from sparsetheory.experiments.storage.files import FolderError, used_alone
from sparsetheory.gpu import PlanStep, compress
from sparsetheory.gpu.compression.checkpoint import Checkpoint, CheckpointError, fingerprint
from sparsetheory.gpu.core import NM, PerRow, capture, collect_grams
from sparsetheory.gpu.weights import FewRowsWarning, prune_model_layerwise


class _Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return self.head(x)


def _data(seed=1, rows=60):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, 8, generator=generator).cumsum(1) for _ in range(2)]


def test_blocks_are_compressed_and_the_head_is_not():
    model = _Blocks()
    report = compress(model, _data(), "2:4", held_out=_data(2))
    assert [layer.name for layer in report.layers] == ["blocks.0", "blocks.1", "blocks.2"]
    assert all(layer.density == 0.5 and layer.n_samples == 120 for layer in report.layers)
    assert bool((report.model.head.weight == model.head.weight).all())
    # The original is as it was.
    for name, parameter in _Blocks().named_parameters():
        assert torch.equal(parameter, model.get_parameter(name))


def test_what_is_reported_is_what_the_model_does():
    model, fresh = _Blocks(), _data(2)
    report = compress(model, _data(), "2:4", held_out=fresh, evaluate=lambda m: {"sum": m(fresh[0]).sum().item()})
    x = torch.cat(fresh)
    old, new = model(x).detach().double(), report.model(x).detach().double()
    assert report.quality["output error"] == pytest.approx(float(((old - new) ** 2).sum() / (old**2).sum()), rel=1e-6)
    cosine = torch.nn.functional.cosine_similarity(old, new).mean()
    assert report.quality["output cosine"] == pytest.approx(float(cosine), rel=1e-6)
    assert report.quality["dense sum"] == pytest.approx(model(fresh[0]).sum().item(), rel=1e-6)
    assert report.quality["sum"] == pytest.approx(report.model(fresh[0]).sum().item(), rel=1e-6)
    # Every layer: its error on fresh inputs of the compressed model, and its certificate from raw inputs.
    for layer in report.layers:
        dense, sparse = (each.get_submodule(layer.name).weight.detach() for each in (model, report.model))
        with capture(report.model, layer.name) as seen:
            report.model(x)
            report.model(torch.cat(_data()))
        inputs, calibration = seen[layer.name]
        outputs = (inputs @ dense.T).double()
        error = float(((outputs - (inputs @ sparse.T).double()) ** 2).sum() / (outputs**2).sum())
        assert layer.held_out_error == pytest.approx(error, rel=1e-4)
        assert report.certificates[layer.name].check(dense, calibration).valid
    assert report.size.n_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert report.size.n_nonzero == sum(int((parameter != 0).sum()) for parameter in report.model.parameters())


def test_a_plan_gives_layers_their_own_patterns():
    plan = [("blocks.0", None), PlanStep("blocks.1", "50%", "wanda"), ("*", NM(1, 4), "magnitude")]
    report = compress(_Blocks(), _data(), plan)
    found = {layer.name: (layer.pattern, layer.method) for layer in report.layers}
    assert found == {
        "blocks.1": ("50% per row", "wanda"),
        "blocks.2": ("1:4", "magnitude"),
        "head": ("1:4", "magnitude"),
    }
    assert bool((report.model.blocks[0].weight != 0).all())


def test_in_place_changes_the_model_itself():
    model = _Blocks()
    report = compress(model, _data(), "2:4", in_place=True)
    assert report.model is model
    assert int((model.blocks[2].weight != 0).sum()) == 32
    assert "output error" not in report.quality


def test_options_reach_the_method():
    report = compress(_Blocks(), _data(), [PlanStep(None, "2:4", options={"damping": 0.5})])
    assert {layer.delta for layer in report.layers} == {0.5}


class _Stop(Exception):
    pass


def _stopping_after(monkeypatch, count):
    save, saved = Checkpoint.save, []

    def stop(self, layer):
        if len(saved) == count:
            raise _Stop
        save(self, layer)
        saved.append(layer)

    monkeypatch.setattr(Checkpoint, "save", stop)


@pytest.mark.parametrize("sequential", [True, False])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, monkeypatch, sequential):
    options = {"held_out": _data(2), "sequential": sequential}
    whole = compress(_Blocks(), _data(), "2:4", **options)
    with monkeypatch.context() as patch:
        _stopping_after(patch, 2)
        with pytest.raises(_Stop):
            compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path, **options)
    assert len(list(tmp_path.glob("*.layer"))) == 2
    resumed = compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path, resume=True, **options)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    timeless = [{**vars(layer), "seconds": 0} for layer in whole.layers]
    assert timeless == [{**vars(layer), "seconds": 0} for layer in resumed.layers]
    assert whole.quality == resumed.quality
    for name, certificate in whole.certificates.items():
        assert certificate.statement == resumed.certificates[name].statement


def test_a_damaged_layer_is_done_again(tmp_path):
    whole = compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path)
    path = sorted(tmp_path.glob("*.layer"))[1]
    path.write_bytes(path.read_bytes()[:100])
    resumed = compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path, resume=True)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_finished_layers_are_read_and_not_done_again(tmp_path, monkeypatch):
    whole = compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path)

    def fail(*args, **options):
        raise AssertionError("a layer is done again")

    monkeypatch.setattr("sparsetheory.gpu.compression.run.layerwise_prune", fail)
    # What does not change the layers may differ.
    resumed = compress(
        _Blocks(), _data(), "2:4", checkpoint=tmp_path, resume=True, n_jobs=2, evaluate=lambda _: {"a": 1}
    )
    for name, certificate in whole.certificates.items():
        assert torch.equal(certificate.weight, resumed.certificates[name].weight)
    assert [vars(layer) for layer in whole.layers] == [vars(layer) for layer in resumed.layers]


def test_a_changed_bit_of_a_layer_is_noticed(tmp_path):
    whole = compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path)
    path = sorted(tmp_path.glob("*.layer"))[1]
    raw = path.read_bytes()
    for place in range(0, len(raw), 97):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 0x10]) + raw[place + 1 :])
        resumed = compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path, resume=True)
        for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": 1}', None])
def test_without_a_readable_record_each_layer_tells_its_run(tmp_path, content):
    whole = compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path)
    for plan in ("2:4", "1:4"):
        if content is None:
            (tmp_path / "run.json").unlink()
        else:
            (tmp_path / "run.json").write_text(content)
        with pytest.raises(CheckpointError, match="holds finished layers"):
            compress(_Blocks(), _data(), plan, checkpoint=tmp_path)
        found = compress(_Blocks(), _data(), plan, checkpoint=tmp_path, resume=True)
        expected = whole if plan == "2:4" else compress(_Blocks(), _data(), plan)
        for one, other in zip(expected.model.parameters(), found.model.parameters(), strict=True):
            assert torch.equal(one, other)


def _with_gelu():
    model = _Blocks()
    model.activation = nn.GELU()
    return model


def test_whatever_changes_layers_makes_another_run(tmp_path):
    calls = {
        "calibration": lambda **where: compress(_Blocks(), _data()[:1], "2:4", **where),
        "held out": lambda **where: compress(_Blocks(), _data()[:1], "2:4", held_out=_data()[1:], **where),
        "batches": lambda **where: compress(_Blocks(), [tuple(_data()[:1])], "2:4", **where),
        "mask": lambda **where: compress(
            _Blocks(), _data()[:1], "2:4", mask=lambda batch: torch.arange(len(batch)) < 40, **where
        ),
        "structure": lambda **where: compress(_with_gelu(), _data()[:1], "2:4", **where),
        "counts": lambda **where: compress(_Blocks(), _data()[:1], [(None, PerRow([4] * 8))], **where),
        "other counts": lambda **where: compress(_Blocks(), _data()[:1], [(None, PerRow([3] * 8))], **where),
        "options": lambda **where: compress(
            _Blocks(), _data()[:1], PlanStep(None, "2:4", options={"damping": 0.1, "start": "wanda"}), **where
        ),
    }
    for name, run in calls.items():
        run(checkpoint=tmp_path / name)
        for other, again in calls.items():
            if other != name:
                with pytest.raises(CheckpointError, match="another run"):
                    again(checkpoint=tmp_path / name, resume=True)
    turned = PlanStep(None, "2:4", options={"start": "wanda", "damping": 0.1})
    compress(_Blocks(), _data()[:1], turned, checkpoint=tmp_path / "options", resume=True)


def test_fingerprints_tell_values_apart():
    model = _Blocks()
    values = [
        [torch.arange(6.0)],
        [torch.arange(6.0).reshape(2, 3)],
        [torch.arange(6.0).double()],
        [[torch.arange(6.0)]],
        [torch.arange(6.0), torch.arange(6.0)],
        [(torch.arange(6.0), torch.arange(6.0))],
        [np.zeros(5000)],
        [np.eye(1, 5000, 2500)[0]],
        ["ab", "c"],
        ["a", "bc"],
        {"a": 1, "b": 2},
        {"a": 2, "b": 1},
        None,
        [],
    ]
    assert len({fingerprint(model, {"data": value}, {}) for value in values}) == len(values)
    assert fingerprint(model, {"a": 1, "b": 2}, {}) == fingerprint(_Blocks(), {"b": 2, "a": 1}, {})


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FolderError, match="cannot write"):
            compress(_Blocks(), _data(), "2:4", checkpoint=folder)


def test_an_interrupt_leaves_finished_layers_and_the_model_as_it_was(tmp_path):
    class Interrupted(_Blocks):
        runs = 0

        def forward(self, x):
            Interrupted.runs += 1
            if Interrupted.runs == 6:
                raise KeyboardInterrupt
            return super().forward(x)

    model = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        compress(model, _data(), "2:4", checkpoint=tmp_path)
    assert len(list(tmp_path.glob("*.layer"))) == 2
    for name, parameter in _Blocks().named_parameters():
        assert torch.equal(parameter, model.get_parameter(name))
    resumed = compress(model, _data(), "2:4", checkpoint=tmp_path, resume=True)
    for one, other in zip(
        compress(_Blocks(), _data(), "2:4").model.parameters(), resumed.model.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_layers_of_another_run_are_not_used(tmp_path):
    compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="holds finished layers; resume"):
        compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path)
    other = _Blocks()
    with torch.no_grad():
        other.head.weight[0, 0] += 1
    for model, data, plan in ((_Blocks(), _data(5), "2:4"), (_Blocks(), _data(), "1:4"), (other, _data(), "2:4")):
        with pytest.raises(CheckpointError, match="holds layers of another run"):
            compress(model, data, plan, checkpoint=tmp_path, resume=True)


def test_two_runs_do_not_share_a_folder(tmp_path):
    with used_alone(tmp_path), pytest.raises(FolderError, match="in use"):
        compress(_Blocks(), _data(), "2:4", checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("plan", "error", "message"),
    [
        ("blocks", ValueError, "pattern must be like 2:4"),
        ([], ValueError, "plan must hold at least 1 step"),
        (3, TypeError, "plan must be a pattern"),
        (("0", "2:4"), TypeError, r"plan must be .* such as \[\(layers, pattern\)\]"),
        ([("block.0", "2:4")], ValueError, "near names are blocks.0"),
        ([("head", "2:4", "magic")], ValueError, "method must be"),
        ([("blocks.0", "2:3")], ValueError, "blocks.0.weight must have a multiple of 3 entries along axis -1"),
        ([("head", None)], ValueError, "plan must name at least 1 layer"),
        ([("head", 4)], TypeError, "pattern must be a pattern"),
    ],
)
def test_bad_plans_are_named_before_anything_is_done(tmp_path, plan, error, message):
    with pytest.raises(error, match=message):
        compress(_Blocks(), _data(), plan, checkpoint=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_groups_over_two_places_of_a_filter_are_refused():
    model, x = nn.Sequential(nn.Conv2d(3, 8, 4)), torch.ones(3, 3, 8, 8)
    with pytest.raises(ValueError, match=r"0\.weight must have a multiple of 4 entries along axis -1 for 2:4; got 3"):
        compress(model, [x], "2:4")


def test_few_rows_warn():
    with pytest.warns(FewRowsWarning, match="use at least 16"):
        compress(_Blocks(), _data(rows=3), "2:4")


def test_one_batch_in_place_of_several_is_an_error():
    model, x = nn.Sequential(nn.Linear(8, 4)), torch.ones(3, 8)
    with pytest.raises(TypeError, match=r"calibration must be .* batches; got one Tensor: put it into a list"):
        compress(model, x, "2:4")
    with pytest.raises(TypeError, match="held_out must be an iterable of batches; got one dict"):
        compress(model, [x], "2:4", held_out={"input": x})
    for collect in (collect_grams, lambda *arguments: prune_model_layerwise(*arguments, NM(2, 4))):
        with pytest.raises(TypeError, match="batches must be an iterable of batches; got one Tensor"):
            collect(model, x)


def test_no_data_is_an_error():
    with pytest.raises(ValueError, match="held_out must hold at least 1 batch"):
        compress(_Blocks(), _data(), "2:4", held_out=[])
    with pytest.raises(ValueError, match="batches must hold at least 1 batch"):
        compress(_Blocks(), [], "2:4")


def test_report_as_frame_dictionary_table_and_figure():
    report = compress(_Blocks(), _data(), PerRow(density=0.25), held_out=_data(2))
    frame = report.to_frame()
    assert list(frame.index) == ["blocks.0", "blocks.1", "blocks.2"]
    assert frame["density"].tolist() == [0.25] * 3
    assert json.loads(json.dumps(report.to_dict()))["layers"][0]["relative_error"] == report.layers[0].relative_error
    lines = report.to_markdown().splitlines()
    assert lines[2].startswith("| blocks.0 | 25% per row | swap | 0.250 |")
    ax = report.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == list(frame.index)
    drawn = [line.get_xdata().tolist() for line in ax.lines]
    assert drawn == [frame["relative_error"].tolist(), frame["held_out_error"].tolist()]
