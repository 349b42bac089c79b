import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from sparsetheory.experiments.display.plots import plot_result
from sparsetheory.experiments.job import reproduce
from sparsetheory.experiments.sweep import run_claim
from sparsetheory.proofs_checks import Measurement


@pytest.fixture(scope="module")
def finished(norms, energy, triangle, letters, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    assert reproduce([norms, energy, triangle], [letters], out=out)
    return out


@pytest.fixture
def page(finished):
    return (finished / "report.html").read_text(encoding="utf-8")


def test_report_loads_nothing(page):
    sources = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page)
    assert sources
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_report_shows_every_statement_as_mathml(page):
    assert len(re.findall(r"<math\b", page)) == page.count("</math>") == 3
    assert r"\le" not in page


def test_report_escapes_text(page):
    assert "norms &lt;of&gt; [vectors]" in page
    assert "&lt;b&gt;low&lt;/b&gt;" in page
    assert "<b>" not in page


def test_report_marks_what_is_ours(page):
    assert page.count('class="badge ours"') == 2
    assert "SeedSequence([0, " in page


@pytest.mark.parametrize("name", ["toys.norms", "toys.energy", "toys.letters"])
def test_figures_show_something(finished, name):
    pixels = image.imread(finished / "figures" / f"{name}.png")
    assert pixels.shape[:2] == (800, 1280)
    assert 0.01 < np.mean(pixels[..., :3].min(axis=2) < 0.9) < 0.5


def test_study_writes_its_table(finished):
    lines = (finished / "data" / "toys.letters.csv").read_text().splitlines()
    assert lines[0] == "word,letters,third"
    assert lines[3] == "quick,5,1.6666666666666667"


def test_a_wrong_claim_fails_the_job(norms, triangle, tmp_path):
    wrong = [replace(claim, evaluate=claim.evaluate_near_miss) for claim in (norms, triangle)]
    assert not reproduce([wrong[0]], out=tmp_path)
    assert not reproduce([wrong[1]], out=tmp_path)
    assert 'class="pill fails"' in (tmp_path / "report.html").read_text()


def broken(vector):
    raise ZeroDivisionError("broken")


def test_a_broken_claim_fails_and_the_others_go_on(norms, energy, tmp_path):
    assert not reproduce([replace(norms, evaluate=broken), energy], out=tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "ZeroDivisionError: broken" in page
    assert "1 of 2 claims" in page


def test_without_matplotlib_there_are_no_figures(norms, letters, tmp_path, monkeypatch):
    monkeypatch.setattr("sparsetheory.experiments.display.figures.find_spec", lambda name: None)
    assert reproduce([norms], [letters], out=tmp_path)
    assert not (tmp_path / "figures").exists()
    assert "<img" not in (tmp_path / "report.html").read_text()


def test_plot_names_its_curves(energy):
    ax = plot_result(run_claim(energy), Figure().subplots())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["measured", "bound"]
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "dimension")
    assert (ax.get_title("left"), ax.get_title("right")) == ("toys.energy", "ours")


def test_plot_says_what_it_shows(energy):
    sweep = replace(energy.sweep, measured_label="energy", bound_label="twice the dimension")
    claim = replace(energy, summary="Energy grows with the dimension. " * 4, sweep=sweep)
    ax = plot_result(run_claim(claim), Figure().subplots())
    assert ax.get_ylabel() == "energy"
    named = replace(claim, sweep=replace(sweep, y_label="squared norm"))
    assert plot_result(run_claim(named), Figure().subplots()).get_ylabel() == "squared norm"
    turned = replace(claim, sweep=replace(sweep, measured_label="claimed: 3", bound_label="gain"))
    assert plot_result(run_claim(turned), Figure().subplots()).get_ylabel() == "gain"
    (summary,) = [text.get_text() for text in ax.texts]
    assert summary.replace("\n", " ") == claim.summary.strip()
    assert max(map(len, summary.splitlines())) <= 84
    panel = plot_result(run_claim(claim), Figure(figsize=(15, 4)).subplots(1, 3)[0])
    assert max(len(line) for text in panel.texts for line in text.get_text().splitlines()) <= 60


@pytest.mark.parametrize(
    ("label", "shown"),
    [("bound", "claimed: 0.2"), ("1/5", "claimed: 1/5"), ("target", "target: 0.2"), ("claimed: 1/5", "claimed: 1/5")],
)
def test_a_constant_bound_is_named_with_its_value(norms, label, shown):
    claim = replace(norms, evaluate=lambda x: Measurement(0.1, 0.2), sweep=replace(norms.sweep, bound_label=label))
    ax = plot_result(run_claim(claim), Figure().subplots())
    assert ax.get_legend_handles_labels()[1] == ["measured", shown]


def test_the_legend_hides_no_curve(norms):
    figure = Figure(layout="constrained")
    long = replace(norms, sweep=replace(norms.sweep, measured_label="a method with a long name, error over the noise"))
    ax = plot_result(run_claim(long), figure.subplots())
    figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert legend.y1 <= ax.xaxis.label.get_window_extent().y0
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1
    assert ax.get_window_extent().width > 0.7 * figure.bbox.width


def test_plot_leaves_out_what_is_not_finite(norms):
    evaluate = lambda x: Measurement(np.nan if x[0] > 0 else 1.0, np.inf, extras={"a": 2.0} if x[0] > 0 else {})  # noqa: E731
    ax = plot_result(run_claim(replace(norms, evaluate=evaluate)), Figure().subplots())
    measured = ax.get_lines()[0].get_ydata()
    assert set(measured[np.isfinite(measured)]) == {1.0}
    assert ax.get_legend_handles_labels()[1] == ["measured", "a"]


def test_plot_of_one_value_shows_every_trial(norms):
    single = replace(norms, sweep=replace(norms.sweep, values=(4,)))
    ax = run_claim(single).plot(Figure().subplots())
    assert len(ax.get_lines()[0].get_ydata()) == 4
    # Measured values and bounds stand side by side.
    measured, bound = (line.get_xdata() for line in ax.get_lines()[:2])
    assert max(measured) < min(bound)
    assert ax.get_xlabel() == f"{norms.sweep.axis}: 4"


def test_a_narrow_range_has_different_ticks(norms):
    flat = replace(norms, evaluate=lambda x: Measurement(1 + 1e-6 * abs(x[0]), 1.0))
    figure = Figure()
    ax = plot_result(run_claim(replace(flat, sweep=replace(norms.sweep, log="y"))), figure.subplots())
    figure.draw_without_rendering()
    ticks = [label.get_text() for label in ax.get_yticklabels()]
    assert len(set(ticks)) == len(ticks) > 2
