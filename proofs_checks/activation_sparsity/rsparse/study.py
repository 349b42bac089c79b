"""R-Sparse on real models: what each part of the method earns, how recipes compare, and the perplexity of a decoder."""

from functools import cache
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import activations, core
from sparsetheory.proofs_checks.activation_sparsity.rsparse.encoder import encoder
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.weight_structure.decoder_perplexity import decoder

_SPARSITY = 0.5
# Share of the budget for inputs, and whether their sizes are scaled by the norms of columns.
_WAYS = ((0.0, True), (0.5, True), (0.8, True), (0.95, True), (0.95, False), (1.0, True), (1.0, False))
_N_TEXTS, _N_CALIBRATION, _TOKENS = 16, 8, 64


@cache
def _texts() -> tuple[Any, Any]:
    texts = core.datasets.load_docstrings(_N_CALIBRATION, _N_TEXTS)
    calibration, held_out = (
        encoder().batches(part, max_length=_TOKENS) for part in (texts.calibration, texts.held_out)
    )
    return calibration, held_out


def _likeness(model: Any, batches: Any) -> float:
    embed = core.models.sentence_embeddings
    return core.mean_cosine(embed(model, batches), embed(encoder().model, batches))


def _parts(profile: str) -> StudyResult:
    columns = ("share for inputs", "scaled by norms", "cosine, held out", "realised sparsity")
    if profile == "quick":
        return StudyResult.left_out(columns)
    calibration, held_out = _texts()
    rows = []
    with one_thread():
        for rho, scaled in _WAYS:
            model = activations.rsparse_model(encoder().model, calibration, _SPARSITY, rho, scaled=scaled)
            realised = list(activations.realised_sparsity(model, held_out).values())
            rows.append((rho, scaled, round(_likeness(model, held_out), 4), round(sum(realised) / len(realised), 4)))
    return StudyResult(columns, rows, _PART_NOTES, _plot_parts(rows))


_PART_NOTES = (
    "Half of the entries of each weight are read. A low rank alone is far worse than inputs alone. From a share of "
    "0.95 on, differences are about 0.01: what a small low-rank path adds, and what scores with norms add to plain "
    "sizes, has no clear sign on this encoder."
)


def _plot_parts(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for scaled, marker, label in ((True, "o-", "sizes times norms of columns"), (False, "s--", "plain sizes")):
            found = [(rho, cosine) for rho, way, cosine, _ in rows if way == scaled]
            ax.plot(*zip(*found, strict=True), marker, label=label)
        ax.set_xlabel("share of the budget for inputs, the rest for a low rank")
        ax.set_ylabel("cosine to dense embeddings")
        ax.set_title("R-Sparse at half of the weights, MiniLM encoder")
        ax.legend(fontsize=8)

    return draw


encoder_parts = Study(
    name="activation_sparsity.rsparse_parts",
    title="What the parts of R-Sparse earn on a sentence encoder",
    description="All 36 linear layers of the blocks of MiniLM at one sparsity, for several shares of the budget and "
    "both ways to score inputs.",
    run=_parts,
)


def _recipes(profile: str) -> StudyResult:
    columns = ("search", "evaluations", "1 - cosine, calibration", "1 - cosine, held out", "mean share for inputs")
    if profile == "quick":
        return StudyResult.left_out(columns)
    calibration, held_out = _texts()

    def fitness(model: Any) -> float:
        return 1.0 - _likeness(model, calibration)

    rows: list[tuple[Any, ...]] = []
    curve: tuple[float, ...] = ()
    with one_thread():
        for name, options in _SEARCHES:
            found = activations.search_recipe(encoder().model, fitness, _SPARSITY, calibration=calibration, **options)
            model = activations.rsparse_model(encoder().model, calibration, found.sparsity, found.rho)
            fresh, share = 1.0 - _likeness(model, held_out), sum(found.rho.values()) / len(found.rho)
            rows.append((name, found.n_evaluations, *(round(x, 4) for x in (found.fitness, fresh, share))))
            curve = found.best if name == "evolution" else curve
    return StudyResult(columns, rows, _RECIPE_NOTES, _plot_recipes(rows, curve))


_SEARCHES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("layer errors", {"method": "lagrange"}),
    ("layer errors, budget moves", {"method": "lagrange", "sparsities": (0.3, 0.4, 0.5, 0.6, 0.7)}),
    ("evolution", {"method": "evolution", "generator": 0}),
)
_RECIPE_NOTES = (
    "Evolution asks the whole model for each candidate. Tables of layer errors ask it once, and take forward passes of "
    "single layers instead. Where budget moves between layers by their relative errors, the embeddings suffer: such "
    "errors do not say how much a layer matters."
)


def _plot_recipes(rows: list[tuple[Any, ...]], curve: tuple[float, ...]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        ax.step([21, 28, *range(44, 109, 16)], curve, where="post", label="evolution, best so far")
        for (name, _, value, *_), style in zip(rows[:2], ("--", ":"), strict=True):
            ax.axhline(value, linestyle=style, color="tab:orange", label=f"{name}, 1 evaluation")
        ax.set_xlabel("evaluations of the whole model")
        ax.set_ylabel("1 - cosine on the calibration")
        ax.set_title("Recipes of R-Sparse, MiniLM encoder")
        ax.legend(fontsize=8)

    return draw


recipe_searches = Study(
    name="activation_sparsity.rsparse_recipes",
    title="Recipes by evolution and by tables of layer errors",
    description="The share of the budget for inputs is chosen for each of the 36 linear layers of MiniLM, at half of "
    "the weights.",
    run=_recipes,
)


def _decoder(profile: str) -> StudyResult:
    columns = ("share for inputs", "scaled by norms", "perplexity", "perplexity, dense")
    if profile == "quick":
        return StudyResult.left_out(columns)
    import torch

    texts = core.datasets.load_wikipedia_articles().texts[:20]
    batches = decoder().batches(texts, batch_size=1, max_length=512)
    # One text of 512 tokens calibrates, as in the authors' code; two others are judged.
    long = [batch for batch in batches if batch["input_ids"].shape[1] == 512][:3]
    judged = torch.cat([batch["input_ids"][0] for batch in long[1:]])
    dense = core.perplexity(decoder().model, judged, window=512).value
    rows = []
    for rho, scaled in _WAYS[1:]:
        model = activations.rsparse_model(decoder().model, long[:1], _SPARSITY, rho, scaled=scaled)
        value = core.perplexity(model, judged, window=512).value
        rows.append((rho, scaled, round(value, 3), round(dense, 3)))
        del model
    notes = "Half of the entries of each of the 210 weights are read, at every token. Articles of Wikipedia."
    return StudyResult(columns, rows, notes)


decoder_shares = Study(
    name="activation_sparsity.rsparse_decoder",
    title="R-Sparse on a language model",
    description="Perplexity of SmolLM2-135M at half of the weights, for several shares of the budget.",
    run=_decoder,
)
