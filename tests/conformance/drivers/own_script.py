"""A user's own training script, for configs that any script takes: two steps of a model, whole or with LoRA.

    own_script.py --deepspeed ds_config.json --model FOLDER --method full|lora          the Trainer reads the JSON
    own_script.py --deepspeed_config ds_config.json --model FOLDER --method full|lora   deepspeed.initialize does

Numbers that the JSON holds as well, such as the batch, are taken from it: a script's author would copy them. Rows have
`--length` tokens, every other one a fifth of them padding; `--layers recomputed` checkpoints layers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import deepspeed
import peft
import torch
import transformers

STEPS = 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deepspeed")
    parser.add_argument("--deepspeed_config")
    parser.add_argument("--model", required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--layers", choices=("kept", "recomputed"), default="kept")
    return parser.parse_args()


def model(path: str, method: str) -> Any:
    base = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    if method == "full":
        return base
    return peft.get_peft_model(base, peft.LoraConfig(r=8, target_modules=["q_proj", "v_proj"]))


def row(number: int, length: int) -> dict[str, list[int]]:
    padding = number % 2 * (length // 5)
    words = [3 + (number + place) % 200 for place in range(length)]
    labels = words[: length - padding] + [-100] * padding
    return {"input_ids": words, "labels": labels, "attention_mask": [int(label >= 0) for label in labels]}


def with_trainer(asked: argparse.Namespace) -> None:
    said = json.loads(Path(asked.deepspeed).read_text(encoding="utf-8"))
    optimizer, schedule = said["optimizer"]["params"], said["scheduler"]["params"]
    training = transformers.TrainingArguments(
        output_dir="output",
        deepspeed=asked.deepspeed,
        max_steps=STEPS,
        per_device_train_batch_size=said["train_micro_batch_size_per_gpu"],
        gradient_accumulation_steps=said["gradient_accumulation_steps"],
        max_grad_norm=said["gradient_clipping"],
        learning_rate=optimizer["lr"],
        weight_decay=optimizer["weight_decay"],
        adam_beta1=optimizer["betas"][0],
        adam_beta2=optimizer["betas"][1],
        adam_epsilon=optimizer["eps"],
        warmup_steps=schedule["warmup_num_steps"],
        bf16=True,
        ddp_backend="gloo",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        save_strategy="no",
        gradient_checkpointing=asked.layers == "recomputed",
        train_sampling_strategy="sequential",
    )
    rows = [row(number, asked.length) for number in range(48)]
    trainer = transformers.Trainer(model=model(asked.model, asked.method), args=training, train_dataset=rows)
    trainer.train()
    trainer.save_state()


def with_engine(asked: argparse.Namespace) -> None:
    deepspeed.init_distributed("gloo")
    made = model(asked.model, asked.method)
    trained = [p for p in made.parameters() if p.requires_grad]
    engine, *_ = deepspeed.initialize(model=made, model_parameters=trained, config=asked.deepspeed_config)
    for number in range(STEPS * engine.gradient_accumulation_steps()):
        batch = [row(number + n, asked.length) for n in range(engine.train_micro_batch_size_per_gpu())]
        loss = engine(**{key: torch.tensor([one[key] for one in batch]) for key in batch[0]}).loss
        engine.backward(loss)
        steps = engine.is_gradient_accumulation_boundary()
        engine.step()
        if steps and engine.global_rank == 0:
            print({"loss": loss.item(), "step": engine.global_steps})


if __name__ == "__main__":
    given = arguments()
    with_trainer(given) if given.deepspeed else with_engine(given)
