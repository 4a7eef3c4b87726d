"""Models from dimensions, with random weights made where they are used, and a tokenizer and data for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.measure.grid import WORDS, Case


def build(made: Case, config: dict[str, Any], device: str) -> Any:
    """The model with random weights on the device, adapters and 4-bit layers included."""
    model = base(config, device, attention=made["attention"], precision=made["precision"], quantised=_is_4bit(made))
    if made["method"] == "full":
        return model
    import peft

    if _is_4bit(made):
        model.is_loaded_in_4bit = True  # what transformers sets when it loads quantised weights, and PEFT looks for
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=made["checkpointing"])
    lora = peft.LoraConfig(
        r=made["rank"], lora_alpha=2 * made["rank"], target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(model, lora)


def _is_4bit(made: Case) -> bool:
    return bool(made["method"] == "qlora")


def base(config: dict[str, Any], device: str, *, attention: str, precision: str, quantised: bool) -> Any:
    """The model alone."""
    import transformers
    from accelerate import init_empty_weights

    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # transformers 4
        from transformers.modeling_utils import no_init_weights

    made = transformers.AutoConfig.for_model(**config)
    dtype = torch.float32 if precision == "fp32 weights" else torch.bfloat16
    with init_empty_weights(include_buffers=False), no_init_weights():
        model = transformers.AutoModelForCausalLM.from_config(made, dtype=dtype, attn_implementation=attention)
        if quantised:
            _four_bit(model)
    model.tie_weights()
    _fill(model, device)
    return model


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


def _fill(model: Any, device: str) -> None:
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


def save(config: dict[str, Any], folder: Path) -> None:
    """A model in bf16 and its tokenizer in a folder, as a hub would have them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    device = "cuda" if torch.cuda.is_available() else "cpu"
    base(config, device, attention="sdpa", precision="bf16", quantised=False).save_pretrained(folder)
    names = ["<pad>", "<end>", "<unk>", *(f"w{number}" for number in range(WORDS))]
    words = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    ).save_pretrained(folder)


def data(made: Case, vocabulary: int) -> list[dict[str, Any]]:
    """Random sequences of the case's length; with `padded` all but the first of a batch are a quarter shorter."""
    count = made["micro_batch"] * made["accumulation"] * (made["steps"] + 1)
    found: list[dict[str, Any]] = []
    for _ in range(count):
        ids = torch.randint(1, vocabulary, (made["length"],))
        entry = {"input_ids": ids, "labels": ids.clone()}
        if made["padded"]:
            mask = torch.ones_like(ids)
            mask[made["length"] - made["length"] // 4 :] = len(found) % made["micro_batch"] == 0
            entry["attention_mask"] = mask
        found.append(entry)
    return found
