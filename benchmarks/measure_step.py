"""Train a few steps of one case and print its peaks as one line of JSON; benchmarks/measure.py starts this.

Reads {"about": true}, or {"case", "config"}, from stdin. Every case has a process of its own, so that neither the
allocator nor the CUDA context remembers the case before.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch

LIBRARIES = ("bitsandbytes", "flash_attn", "liger_kernel", "peft")
SHOWN = ("transformers", "torch", "peft", "accelerate", "bitsandbytes", "liger_kernel", "flash_attn")
Case = Mapping[str, Any]


def about() -> dict[str, Any]:
    """The machine and its libraries."""
    cuda = torch.cuda.is_available()
    found = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    return {
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "gpu_memory": torch.cuda.get_device_properties(0).total_memory if cuda else None,
        "libraries": found if cuda else [name for name in found if name in ("bitsandbytes", "peft")],
        "versions": {name: importlib.metadata.version(name) for name in SHOWN if importlib.util.find_spec(name)},
    }


def used_bytes() -> int:
    """Device memory in use on the GPU, by all processes; asked of the driver without a context here."""
    gpu = os.environ["CUDA_VISIBLE_DEVICES"]
    asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", gpu]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return int(said.split()[0]) * 2**20


def build(case: Case, config: dict[str, Any], device: str) -> Any:
    """The model with random weights on the device, adapters and 4-bit layers included."""
    import transformers
    from accelerate import init_empty_weights
    from transformers.initialization import no_init_weights

    made = transformers.AutoConfig.for_model(**config)
    dtype = torch.float32 if case["precision"] == "fp32 weights" else torch.bfloat16
    with init_empty_weights(include_buffers=False), no_init_weights():
        model = transformers.AutoModelForCausalLM.from_config(made, dtype=dtype, attn_implementation=case["attention"])
        if case["method"] == "qlora":
            _four_bit(model)
    model.tie_weights()
    fill(model, device)
    if case["method"] == "full":
        return model
    import peft

    if case["method"] == "qlora":
        model.is_loaded_in_4bit = True  # what transformers sets when it loads quantised weights, and PEFT looks for
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=case["checkpointing"])
    lora = peft.LoraConfig(
        r=case["rank"], lora_alpha=2 * case["rank"], target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(model, lora)


def _four_bit(model: Any) -> None:
    """Put bitsandbytes' 4-bit layers, still empty, in the place of all linear layers but the head."""
    import bitsandbytes

    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear and child is not head:
                layer = bitsandbytes.nn.Linear4bit(
                    child.in_features,
                    child.out_features,
                    bias=child.bias is not None,
                    compute_dtype=torch.bfloat16,
                    compress_statistics=True,
                    quant_type="nf4",
                )
                layer.requires_grad_(False)
                setattr(parent, name, layer)


def fill(model: Any, device: str) -> None:
    """Replace empty parameters by random ones on the device; tied ones stay tied, 4-bit ones are quantised there."""
    done: dict[int, Any] = {}
    for module in model.modules():
        for name, old in list(module._parameters.items()):
            if old is None:
                continue
            if id(old) not in done:
                done[id(old)] = (old, _random(old, device))
            module._parameters[name] = done[id(old)][1]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = buffer.to(device)


def _random(old: Any, device: str) -> Any:
    new = torch.empty(old.shape, dtype=old.dtype, device=device)
    new = new.normal_(0, 0.02) if new.dim() > 1 else new.fill_(1)
    if type(old).__name__ == "Params4bit":
        return type(old)(
            new.to(torch.bfloat16), requires_grad=False, quant_type="nf4", compress_statistics=True, module=old.module
        ).to(device)
    return torch.nn.Parameter(new, requires_grad=old.requires_grad)


def train(case: Case, config: dict[str, Any]) -> dict[str, Any]:
    """Train, and return peaks in bytes (None without a GPU) and tokens per second."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    cuda = torch.cuda.is_available()
    before = used_bytes() if cuda else 0
    device = "cuda" if cuda else "cpu"
    clock = _clock()
    process = 0

    class Watch(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            nonlocal process
            if cuda:
                torch.cuda.synchronize()
                process = max(process, used_bytes() - before)
            clock.append(time.perf_counter())

    try:
        model = build(case, config, device)
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        with tempfile.TemporaryDirectory() as folder:
            trainer = transformers.Trainer(
                model=model, args=arguments(case, folder, cuda), train_dataset=data(case, config), callbacks=[Watch()]
            )
            trainer.train()
    except torch.OutOfMemoryError:
        return {"oom": True}
    tokens = case["micro_batch"] * case["accumulation"] * case["length"]
    steps = [after - start for start, after in pairwise(clock[1:])] or [clock[-1] - clock[0]]
    peaks = None
    if cuda:
        peaks = {
            "allocated": torch.cuda.max_memory_allocated(),
            "reserved": torch.cuda.max_memory_reserved(),
            "process": process,
        }
    return {"peaks": peaks, "tokens_per_second": tokens / sorted(steps)[len(steps) // 2]}


def _clock() -> list[float]:
    return [time.perf_counter()]


def arguments(case: Case, folder: str, cuda: bool) -> Any:
    """The Trainer's arguments."""
    import transformers

    return transformers.TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=case["micro_batch"],
        gradient_accumulation_steps=case["accumulation"],
        gradient_checkpointing=case["checkpointing"],
        max_steps=case["steps"],
        bf16=True,
        optim=case["optimizer"],
        use_liger_kernel=case["fused_loss"],
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


def data(case: Case, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Random sequences of the case's length; with `padded` all but the first of a batch are a quarter shorter."""
    count = case["micro_batch"] * case["accumulation"] * (case["steps"] + 1)
    made: list[dict[str, Any]] = []
    for _ in range(count):
        ids = torch.randint(1, config["vocab_size"], (case["length"],))
        entry = {"input_ids": ids, "labels": ids.clone()}
        if case["padded"]:
            mask = torch.ones_like(ids)
            mask[case["length"] - case["length"] // 4 :] = len(made) % case["micro_batch"] == 0
            entry["attention_mask"] = mask
        made.append(entry)
    return made


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    answer = about() if asked.get("about") else train(asked["case"], asked["config"])
    print(json.dumps({"mfc": "measure", **answer}))
