"""Train a few steps of one case with the Hugging Face Trainer; or, asked to, save a model with its tokenizer.

The sweep starts this with {"case", "config"} or {"save", "config"}. Every case has a process of its own, so that
neither the allocator nor the CUDA context remembers the case before.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import models
from benchmarks.measure.grid import Case
from benchmarks.measure.meter import Meter, answer, asked, watch


def train(made: Case, config: dict[str, Any]) -> None:
    """Train; the callback answers."""
    meter = Meter()
    import transformers

    transformers.utils.logging.set_verbosity_error()
    model = models.build(made, config, "cuda" if meter.cuda else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        trainer = transformers.Trainer(
            model=model,
            args=arguments(made, folder, meter.cuda),
            train_dataset=models.data(made, config["vocab_size"]),
            callbacks=[watch(meter, made, built_before=True)],
        )
        trainer.train()


def arguments(made: Case, folder: str, cuda: bool) -> Any:
    """The Trainer's arguments."""
    import transformers

    return transformers.TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=made["micro_batch"],
        gradient_accumulation_steps=made["accumulation"],
        gradient_checkpointing=made["checkpointing"],
        max_steps=made["steps"],
        bf16=made["precision"] != "pure bf16",
        optim=made["optimizer"],
        use_liger_kernel=made["fused_loss"],
        learning_rate=1e-5,
        save_strategy="no",
        report_to=[],
        logging_steps=1000,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=cuda,
        use_cpu=not cuda,
    )


def main() -> None:
    given = asked()
    if "save" in given:
        models.save(given["config"], Path(given["save"]))
        answer({"saved": given["save"]})
    else:
        train(given["case"], given["config"])


if __name__ == "__main__":
    main()
