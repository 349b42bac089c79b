"""The Trainer of transformers at a constant rate and without output, for tests that compare it with a loop by hand."""

import torch


def train_quietly(model, optimizer, data, folder, *, kind=None, callbacks=(), resume_from=None, **options):
    """Train a model; options are those of TrainingArguments, a whole number to resume from is a checkpoint's step."""
    import transformers

    quiet = {"use_cpu": True, "report_to": "none", "logging_strategy": "no", "disable_tqdm": True}
    saved = {"save_strategy": "steps" if "save_steps" in options else "no", "max_grad_norm": 0.0}
    (kind or transformers.Trainer)(
        model=model,
        args=transformers.TrainingArguments(output_dir=str(folder), **{**quiet, **saved, **options}),
        train_dataset=data,
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)),
        callbacks=list(callbacks),
    ).train(resume_from_checkpoint=None if resume_from is None else str(folder / f"checkpoint-{resume_from}"))
