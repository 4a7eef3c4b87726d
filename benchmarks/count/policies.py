"""Small policies and their batches, called as on a GPU: accelerate's casts, CUDA's autocast and kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import MethodType
from typing import Any
from unittest import mock

import peft
import torch
import transformers
from accelerate.utils.operations import convert_outputs_to_fp32
from mfc.simulate.tracker import Tracker
from torch.nn import functional

SIZE = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
}
PAIRS = 1


class Kernels(Tracker):
    """Adds what CUDA's kernels hold inside while they run."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = super().__torch_dispatch__(func, types, args, kwargs)
        name = func._schema.name
        if name in ("aten::_log_softmax", "aten::_log_softmax_backward_data"):
            given = args[:1] if name == "aten::_log_softmax" else args[:2]
            copies = sum(x.numel() * x.element_size() for x in given if not x.is_contiguous())
            self.mark(name, copies)
        elif name == "aten::logsumexp":
            self.mark(name, args[0].numel() * args[0].element_size())
        return made


def model_of(vocabulary: int, *, lora: bool, fp32: bool, checkpointing: bool) -> Any:
    config = transformers.AutoConfig.for_model(**SIZE, vocab_size=vocabulary, use_cache=False)
    made = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    made.to(torch.float32 if fp32 else torch.bfloat16)
    if checkpointing:
        made.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if lora:
        if checkpointing:
            made.enable_input_require_grads()
        made = peft.get_peft_model(
            made,
            peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
            autocast_adapter_dtype=True,
        )
    return made.train()


def wrapped(model: Any, tracker: Tracker, *, amp: bool, outputs: bool) -> Any:
    """Forward as accelerate prepares it, and the phases set around it. xtuner's autocast is around the loss as well."""
    inner = model.forward

    def forward(_self: Any, *args: Any, **keys: Any) -> Any:
        trains = torch.is_grad_enabled()
        tracker.phase = "policy forward" if trains else "reference forward"
        if not trains:
            tracker.mark("")
        made = call(*args, **keys)
        tracker.phase = "policy log-probs" if trains else "reference log-probs"
        return made

    call = inner
    if amp and outputs:
        call = convert_outputs_to_fp32(torch.autocast("cpu", torch.bfloat16)(inner))
    model.forward = MethodType(forward, model)
    model.amp = amp
    return model


def batch_of(framework: str, task: str, length: int, vocabulary: int) -> dict[str, Any]:
    """Pairs for all but KTO, whose batches are samples: as many, so that tokens are the same."""
    count = 2 * PAIRS
    ids = torch.randint(5, vocabulary, (count, length))
    mask = torch.ones_like(ids)
    labels = ids.clone()
    labels[:, : length // 4] = -100
    if framework == "trl" and task == "dpo":
        return {"input_ids": ids, "attention_mask": mask, "completion_mask": (labels != -100).long()}
    if framework == "trl" and task != "kto":
        parts = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        chosen = {f"chosen_{key}": value[:PAIRS] for key, value in parts.items()}
        return chosen | {f"rejected_{key}": value[PAIRS:] for key, value in parts.items()}
    if task != "kto":
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
    tags = [index % 2 == 0 for index in range(count)]
    if framework == "llamafactory":
        own = {"input_ids": ids, "attention_mask": mask, "labels": labels, "kto_tags": torch.tensor(tags)}
        return own | {"kl_input_ids": ids.clone(), "kl_attention_mask": mask.clone(), "kl_labels": labels.clone()}
    pieces = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    made: dict[str, Any] = {f"completion_{key}": value for key, value in pieces.items()}
    made |= {f"KL_completion_{key}": value.clone() for key, value in pieces.items()}
    return made | {"label": tags}


@contextlib.contextmanager
def autocast_as_cuda() -> Iterator[None]:
    """CUDA's autocast runs log_softmax and losses in fp32; the CPU's does not."""
    log_softmax = torch.Tensor.log_softmax

    def wide(self: torch.Tensor, dim: int = -1, dtype: Any = None) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu") and self.dtype == torch.bfloat16:
            dtype = torch.float32
        return log_softmax(self, dim, dtype)

    def entropy(logits: torch.Tensor, target: torch.Tensor, *_args: Any, **keys: Any) -> torch.Tensor:
        return functional.nll_loss(wide(logits, -1), target, ignore_index=keys.get("ignore_index", -100))

    with mock.patch.object(torch.Tensor, "log_softmax", wide), mock.patch.object(functional, "cross_entropy", entropy):
        yield
