"""Update sparsity of the decoder SmolLM2 after a few steps by rewards and by labels."""

import copy
from collections.abc import Callable
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.network_analysis.updates.runs import rewarded_loss

_STEPS, _LENGTH, _RATES = 5, 128, (1e-6, 1e-5)
_COLUMNS = ("run", "learning rate", "mean change", "bfloat16, 0", "bfloat16, 1e-5", "float32, 0", "float32, 1e-5")
_NOTES = (
    f"{_STEPS} steps of AdamW on the beginnings of articles, {_LENGTH} tokens each, from weights that were rounded to "
    "bfloat16. Rewards: at every position a token is drawn from the model, and rewarded where it is the next one of "
    "the text. Labels: cross-entropy of the next token. The first step of Adam has the size of the learning rate "
    "whatever the gradient is. So few steps say little about what rewards do; they show what the precision does: "
    "nearly all weights move in float32, few of them in bfloat16, and a tolerance above the movement hides them all."
)


def _batches(text: Any) -> list[Any]:
    articles = core.datasets.load_wikipedia_articles().texts[:20]
    batches = text.batches(articles, batch_size=1, max_length=_LENGTH)
    return [batch for batch in batches if batch["input_ids"].shape[1] == _LENGTH][:_STEPS]


def _start(text: Any) -> Any:
    import torch

    model = copy.deepcopy(text.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    return model


def _tuned(start: Any, batches: list[Any], loss: Callable[..., Any], rate: float) -> Any:
    import torch

    model = copy.deepcopy(start)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    for batch in batches:
        optimizer.zero_grad()
        logits = model(**batch).logits[0, :-1]
        loss(logits, batch["input_ids"][0, 1:]).backward()
        optimizer.step()
    return model


def _row(kind: str, rate: float, start: Any, end: Any) -> tuple[Any, ...]:
    import torch

    grid = analysis.update_grid(start, end, tols=(0.0, 1e-5), dtypes=(torch.bfloat16, torch.float32))
    shares = [round(report.total, 4) for report in grid.reports]
    return kind, rate, float(f"{grid.report(torch.float32, 0.0).mean_change:.2g}"), *shares


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for i, name in enumerate(_COLUMNS[3:]):
            ax.bar([place + 0.2 * i for place in range(len(rows))], [row[3 + i] for row in rows], 0.2, label=name)
        ax.set_xticks([place + 0.3 for place in range(len(rows))], [f"{row[0]}, {row[1]:g}" for row in rows])
        ax.set_ylabel("share of weights that do not change")
        ax.set_title("SmolLM2 after a few steps")
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncol=4, fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    import torch

    text = core.models.load_smollm2()
    batches, start = _batches(text), _start(text)
    rows = []
    with one_thread():
        for rate in _RATES:
            generator = torch.Generator().manual_seed(0)
            for kind, loss in (("rewards", rewarded_loss(generator)), ("labels", core.class_loss)):
                rows.append(_row(kind, rate, start, _tuned(start, batches, loss, rate)))
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


decoder_updates = Study(
    name="network_analysis.decoder_updates",
    title="Update sparsity of a language model after a few steps",
    description="SmolLM2 with float32 master weights, by rewards for sampled next tokens and by labels, seen in "
    "bfloat16 and in float32.",
    run=_run,
)
