"""Every notebook runs from top to bottom in its own process: small at a commit, as printed at night."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
# What a commit sets the sizes to. Every notebook with sizes has them in one cell, tagged "parameters".
SMALL = {
    "activation_sparsity": {
        "n_texts": 2,
        "n_tokens": 1,
        "targets": (0.3,),
        "n_steps": 20,
        "gates": ("relu",),
        "n_words": 0,
        "strengths": (0.4, 1.6),
        "n_seeds": 1,
        "n_epochs": 2,
        "n_noisy_epochs": 2,
        "features": (50, 200),
        "n_codes": 20,
        "rhos": (0.9, 1.0),
        "blocks": "encoder.layer.3.*",
        "searched": "encoder.layer.3.attention.self.*",
        "films": (),
        "n_frames": 2,
        "size": 512,
        "n_repeats": 2,
        "trials": 2,
        "shown": ("cett_not_monotone", "rsparse_dominance"),
    },
    "bayesian_networks": {
        "n_draws": 2,
        "n_epochs": 4,
        "n_seeds": 1,
        "densities": (0.02, 0.1),
        "n_samples": 3,
        "n_turbo_epochs": 8,
        "n_rounds": 6,
        "trials": 2,
        "shown": ("subspace_vi.rank_identity", "bayesian_networks.linear_twin"),
    },
    "beyond_l1": {
        "sizes": (144, 288, 1152),
        "n_batches": 15,
        "n_longer": 20,
        "n_test": 100,
        "n_few": 30,
        "every": 24,
        "trials": 2,
    },
    "concatenated_svd": {"n_subsets": 1, "n_blocks": (20, 12, 12), "every": 12, "trials": 1},
    "kronecker_sbl": {
        "updates": 200,
        "longest": 800,
        "ratios": (4, 20),
        "n_channels": 1,
        "symbols": 2000,
        "n_starts": 10,
        "trials": 2,
    },
    "layerwise_pruning": {
        "n_texts": 16,
        "n_rows": 2,
        "n_searched": 2,
        "n_designs": 1,
        "narrow": "encoder.layer.0.attention.self.query",
        "wide": "encoder.layer.0.attention.self.key",
    },
    "depth_and_updates": {
        "depth": 12,
        "width": 32,
        "n_networks": 2,
        "n_character_steps": 10,
        "decoder_tokens": 0,
        "n_tuning_steps": 20,
        "rates": (1e-5, 1e-4),
        "n_sparse_steps": 40,
        "trials": 2,
        "shown": ("network_analysis.rescaled_masks",),
    },
    "dynamic_sparsity": {
        "n_regressions": 2,
        "spreads": (0.0, 0.7),
        "densities": (0.02, 0.2),
        "growths": ("static", "gradient"),
        "n_epochs": 2,
        "n_seeds": 1,
        "n_batches": 20,
        "budgets": (0.2,),
        "epochs_shown": (1, 2),
        "trials": 2,
        "shown": ("dynamic_sparsity.rigl_against_prices",),
    },
    "intrinsic_dimension": {
        "dims": (20, 100),
        "n_seeds": 1,
        "n_steps": 20,
        "grid": (50, 100),
        "few": (10, 40),
        "n_tuning_steps": 20,
        "bounded": (20, 80),
        "cube_dims": (2, 5),
        "n_points": 300,
        "trials": 2,
        "shown": ("intrinsic_dimension.projection_adjoint",),
    },
    "local_privacy": {
        "n_repetitions": 4,
        "n_users_in_rounds": 20_000,
        "n_seeds": 1,
        "n_audit": 4000,
        "n_clients": 2000,
        "trials": 2,
    },
    "misspecified_bandits": {
        "n_actions": 2000,
        "n_features": 8,
        "n_seeds": 1,
        "n_needles": 5,
        "largest_design": 2000,
        "horizon": 2000,
        "trials": 2,
    },
    "random_supports": {"n_signals": 1, "n_supports": 200, "trials": 2},
    "representations": {
        "n_layer_steps": 4,
        "n_training_steps": 10,
        "n_trials": 2,
        "counts": (4, 8),
        "cluster_counts": (4, 8),
        "strengths": (0.0, 2.0),
        "n_jepa_steps": 30,
        "n_vertices": 200,
        "side": 32,
        "alphas": (0.003, 0.03),
        "n_systems": 1,
        "ranks": (4, 16),
        "trials": 2,
        "shown": ("sparse_representation.exact_step",),
    },
    "sparse_attention": {
        "n_learning": 2,
        "n_judged": 1,
        "layers": (2,),
        "tolerances": (0.1,),
        "gains": (0.1,),
        "n_gate_steps": 20,
        "decoder_rules": (),
        "n_budgets": 4,
        "sparsities": (0.5,),
        "n_short": 4,
        "n_cached": 128,
        "n_decodes": 2,
        "n_canvases": 40,
        "n_epochs": 2,
        "n_tokens": 512,
        "n_repeats": 2,
        "trials": 2,
        "shown": ("sparse_attention.small_masses", "sparse_attention.cache_error"),
    },
    "weight_sparsity": {
        "n_epochs": 3,
        "n_seeds": 1,
        "n_functions": 20,
        "sparsities": (0.0, 0.3, 0.6, 0.9),
        "n_photographs": 2,
        "densities": (0.1,),
        "n_repeats": 2,
        "trials": 2,
        "shown": ("sparse_training.adam_s_displacement",),
    },
    "turbo_vbi": {"n_problems": 2, "n_pictures": 1, "n_channels": 1, "n_calibration": 4, "trials": 2},
}


def sizes_of(notebook):
    """Return the index of the cell with the sizes, and the names that it sets."""
    tagged = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) <= 1
    if not tagged:
        return None, set()
    found = {}
    exec(notebook.cells[tagged[0]].source, found)
    return tagged[0], set(found) - {"__builtins__"}


def run_and_inspect(notebook, folder, seconds):
    """Run all cells and require a figure. Results of long runs lie beside the notebook."""
    shutil.copytree(FOLDER / "results", folder / "results")
    resources = {"metadata": {"path": folder}}
    NotebookClient(notebook, timeout=seconds, kernel_name="python3", resources=resources).execute()
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert not any(o.output_type == "error" for o in outputs)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_small_notebook_runs_and_draws(name, tmp_path):
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    sizes = SMALL.get(name, {})
    cell, names = sizes_of(notebook)
    assert set(sizes) <= names, "a size that the notebook does not have"
    if sizes:
        changes = "\n".join(f"{size} = {value!r}" for size, value in sizes.items())
        notebook.cells.insert(cell + 1, nbformat.v4.new_code_cell(changes))
    run_and_inspect(notebook, tmp_path, 120)


@pytest.mark.full_size
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_and_draws(name, tmp_path):
    run_and_inspect(nbformat.read(NOTEBOOKS[name], as_version=4), tmp_path, 600)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_saved_shows_figures_and_no_paths_of_a_machine(name):
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    # Warnings and errors of other packages name the files that raise them.
    text = "".join(output.get("text", "") for output in outputs if output.output_type == "stream")
    assert "site-packages" not in text
    assert not any(output.output_type == "error" for output in outputs)
