"""Counts what preference losses hold, with the frameworks' own trainers on small models, on the CPU.

    PYTHONPATH=compiler python -m benchmarks.count.preferences llamafactory tests/memory/data/preferences.json

in an environment that has the framework (trl, llamafactory, swift or xtuner); its rows take the place of those of the
same versions. Only the trainer's constructor is left out: its methods run as they are, on real tensors, and the model's
outputs become fp32 as accelerate makes them, or stay 16 bit, as under DeepSpeed. ms-swift runs without logits_to_keep.

`logits` are bytes per token and vocabulary row at each moment, by differences over two lengths and two vocabularies;
`peaks` are all bytes at each moment of one of these runs. What CUDA's kernels hold inside is added where it grows with
the logits: softmax copies what is not contiguous (SoftMax.cu), logsumexp makes one more tensor (ReduceOps.cpp).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MethodType, SimpleNamespace
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
VOCABULARIES = (2048, 4096)
LENGTHS = (64, 128)
PAIRS = 1
PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl", "llamafactory", "ms-swift", "xtuner", "liger-kernel")


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


def trainer_of(module: str, name: str, **fields: Any) -> Any:
    """A trainer without its constructor."""
    made = object.__new__(getattr(importlib.import_module(module), name))
    accelerator = SimpleNamespace(
        device=torch.device("cpu"),
        is_main_process=True,
        unwrap_model=lambda model, *_args, **_keys: model,
        gather_for_metrics=lambda tensor: tensor,
        gather=lambda tensor: tensor,
    )
    common = {
        "accelerator": accelerator,
        "beta": 0.1,
        "label_smoothing": 0.0,
        "reference_free": False,
        "f_divergence_type": "reverse_kl",
        "f_divergence_params": {},
        "use_weighting": False,
        "aux_loss_enabled": False,
        "is_encoder_decoder": False,
        "is_vision_model": False,
        "label_pad_token_id": -100,
        "padding_value": 0,
        "pad_token_id": 0,
        "precompute_ref_log_probs": False,
        "ref_adapter_name": None,
        "model_adapter_name": None,
        "_peft_has_been_casted_to_bf16": False,
        "_stored_metrics": defaultdict(lambda: defaultdict(list)),
        "calculate_KL": True,
        "desirable_weight": 1.0,
        "undesirable_weight": 1.0,
        "model_accepts_loss_kwargs": False,
    }
    for key, value in {**common, **fields}.items():
        object.__setattr__(made, key, value)
    return made


def llamafactory(task: str, policy: Any, reference: Any) -> Any:
    finetuning = SimpleNamespace(use_ref_model=task == "dpo")
    stage = "kto" if task == "kto" else "dpo"
    return trainer_of(
        f"llamafactory.train.{stage}.trainer",
        "CustomKTOTrainer" if task == "kto" else "CustomDPOTrainer",
        finetuning_args=finetuning,
        model=policy,
        ref_model=reference,
        loss_type="sigmoid" if task == "dpo" else task,
        ftx_gamma=0.0,
        bco_gemma=0.0,
        simpo_gamma=0.5,
        ld_alpha=None,
        args=SimpleNamespace(device=torch.device("cpu"), use_liger_loss=False, rpo_alpha=None),
    )


def trl(task: str, policy: Any, reference: Any) -> Any:
    if task == "dpo":
        return trainer_of(
            "trl",
            "DPOTrainer",
            model=policy,
            ref_model=reference,
            ld_alpha=None,
            precompute_ref_logps=False,
            f_divergence_type="reverse_kl",
            loss_types=["sigmoid"],
            loss_weights=[1.0],
            use_liger_kernel=False,
            _total_train_tokens=0,
            _metrics=defaultdict(lambda: defaultdict(list)),
            args=SimpleNamespace(max_length=None, gradient_checkpointing_kwargs={"use_reentrant": False}),
        )
    package, name = {
        "kto": ("kto", "KTOTrainer"),
        "orpo": ("orpo", "ORPOTrainer"),
        "simpo": ("cpo", "CPOTrainer"),
    }[task]
    return trainer_of(
        f"trl.experimental.{package}",
        name,
        model=policy,
        ref_model=reference,
        is_peft_model=isinstance(policy, peft.PeftModel),
        loss_type="simpo" if task == "simpo" else "kto",
        simpo_gamma=0.5,
        alpha=0.0,
        cpo_alpha=0.0,
        args=SimpleNamespace(device=torch.device("cpu"), use_liger_kernel=False),
    )


def swift(task: str, policy: Any, reference: Any) -> Any:
    package = "swift.rlhf_trainers" if version("ms-swift").startswith("4") else "swift.trainers.rlhf_trainer"
    module, name = {
        "dpo": ("dpo_trainer", "DPOTrainer"),
        "kto": ("kto_trainer", "KTOTrainer"),
        "orpo": ("orpo_trainer", "ORPOTrainer"),
        "simpo": ("cpo_trainer", "CPOTrainer"),
    }[task]
    several = task == "dpo"
    return trainer_of(
        f"{package}.{module}",
        name,
        model=policy,
        ref_model=reference,
        is_peft_model=isinstance(policy, peft.PeftModel),
        loss_type=["sigmoid"] if several else {"orpo": "sigmoid"}.get(task, task),
        loss_weights=None,
        simpo_gamma=0.5,
        alpha=0.0,
        cpo_alpha=0.0,
        template=SimpleNamespace(padding_free=False, packing=False, sequence_parallel_size=1),
        args=SimpleNamespace(
            device=torch.device("cpu"),
            use_logits_to_keep=False,
            use_liger_loss=False,
            use_liger_kernel=False,
            rpo_alpha=None,
            ld_alpha=None,
            gradient_accumulation_steps=1,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        ),
    )


class Prepared:
    """What xtuner's models are called through."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def compute_loss(self, _model: Any, batch: dict[str, Any]) -> Any:
        with torch.autocast("cpu", torch.bfloat16) if self.made.amp else contextlib.nullcontext():
            losses = self.made.compute_loss(batch)
        # mmengine BaseModel.parse_losses sums what is called a loss; the rest is logged
        return losses["loss"].mean() if losses["loss"].dim() else losses["loss"]


def xtuner(task: str, policy: Any, reference: Any) -> Any:
    name = {"dpo": "DPO", "orpo": "ORPO"}[task]
    made = object.__new__(getattr(importlib.import_module(f"xtuner.model.{task}"), name))
    torch.nn.Module.__init__(made)
    made.llm, made.ref_llm, made.beta = policy, reference, 0.1
    made.loss_type, made.label_smoothing, made.use_varlen_attn = "sigmoid", 0.0, False
    made.amp = policy.amp
    return Prepared(made)


FRAMEWORKS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "llamafactory": (llamafactory, ("dpo", "kto", "orpo", "simpo")),
    "trl": (trl, ("dpo", "kto", "orpo", "simpo")),
    "swift": (swift, ("dpo", "kto", "orpo", "simpo")),
    "xtuner": (xtuner, ("dpo", "orpo")),
}


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


def measure(framework: str, task: str, case: dict[str, bool], vocabulary: int, length: int) -> dict[str, int]:
    """Bytes at each moment's peak besides weights."""
    torch.manual_seed(0)
    tracker = Kernels()
    lora, amp = case["lora"], case["autocast"]
    outputs = framework != "xtuner"
    fp32 = amp and not lora
    policy = model_of(vocabulary, lora=lora, fp32=fp32, checkpointing=case["checkpointing"])
    if lora and not amp:  # DeepSpeed casts adapters
        for parameter in policy.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    reference = None
    if not lora and task in ("dpo", "kto"):
        reference = model_of(vocabulary, lora=False, fp32=False, checkpointing=False).eval()
        reference.requires_grad_(False)
        wrapped(reference, tracker, amp=amp, outputs=outputs)
    wrapped(policy, tracker, amp=amp, outputs=outputs)
    trainer = FRAMEWORKS[framework][0](task, policy, reference)
    for model in (policy, reference):
        for tensor in [*model.parameters(), *model.buffers()] if model is not None else ():
            tracker.note(tensor, "weights")
    batch = batch_of(framework, task, length, vocabulary)
    gc.collect()
    head = policy.get_output_embeddings()

    def before_head(_: Any, inputs: tuple[Any, ...]) -> None:
        if inputs[0].requires_grad and tracker.phase == "policy forward":
            inputs[0].register_hook(lambda _: setattr(tracker, "phase", "layers"))

    head.register_forward_pre_hook(before_head)
    with autocast_as_cuda(), tracker:
        loss = trainer.compute_loss(policy, batch)
        del batch
        tracker.phase = "backward"
        tracker.mark("")
        loss.backward()
        tracker.settle()
    weights = tracker.parts["weights"]
    return {phase: peak.size - weights for phase, peak in tracker.peaks.items() if phase}


def rows(framework: str) -> Iterator[dict[str, Any]]:
    for task in FRAMEWORKS[framework][1]:
        for lora in (True, False):
            for amp in (True, False):
                for checkpointing in (True, False):
                    case = {"lora": lora, "autocast": amp, "checkpointing": checkpointing}
                    at = {(v, n): measure(framework, task, case, v, n) for v in VOCABULARIES for n in LENGTHS}
                    (v0, v1), (n0, n1) = VOCABULARIES, LENGTHS
                    grown = (v1 - v0) * (n1 - n0) * 2 * PAIRS
                    phases = [p for p in at[v1, n1] if all(p in peaks for peaks in at.values())]
                    logits = {
                        p: round((at[v1, n1][p] - at[v0, n1][p] - at[v1, n0][p] + at[v0, n0][p]) / grown, 2)
                        for p in phases
                        if p != "layers"  # gradients of weights are part of it
                    }
                    yield {"task": task, **case, "logits": logits, "peaks": at[v1, n1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("framework", choices=sorted(FRAMEWORKS))
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    torch.set_num_threads(1)
    run = {"framework": given.framework, "versions": versions, "rows": list(rows(given.framework))}
    known = json.loads(given.file.read_text(encoding="utf-8"))["runs"] if given.file.exists() else []
    same = [run["framework"], versions]
    runs = [*(one for one in known if [one["framework"], one["versions"]] != same), run]
    given.file.write_text(written(runs), encoding="utf-8")


def written(runs: list[dict[str, Any]]) -> str:
    """JSON with a row a line."""
    head = {"model": {**SIZE, "vocab_size": VOCABULARIES[1]}, "length": LENGTHS[1], "sequences": 2 * PAIRS}
    made = []
    for run in runs:
        lines = ",\n".join("  " + json.dumps(row) for row in run["rows"])
        what = json.dumps({key: value for key, value in run.items() if key != "rows"})
        made.append(f' {what[:-1]}, "rows": [\n{lines}\n ]}}')
    return f'{json.dumps(head)[:-1]}, "runs": [\n' + ",\n".join(made) + "\n]}\n"


if __name__ == "__main__":
    main()
