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
import itertools
import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.count.policies import PAIRS, SIZE, Kernels, autocast_as_cuda, batch_of, model_of, wrapped
from benchmarks.count.trainers import FRAMEWORKS

VOCABULARIES = (2048, 4096)
LENGTHS = (64, 128)
PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl", "llamafactory", "ms-swift", "xtuner", "liger-kernel")


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
    """A row for each task of a framework, adapters or none, autocast or none, checkpointed or not."""
    switches = ("lora", "autocast", "checkpointing")
    values = itertools.product((True, False), repeat=len(switches))
    for task, value in itertools.product(FRAMEWORKS[framework][1], values):
        case = dict(zip(switches, value, strict=True))
        at = {(v, n): measure(framework, task, case, v, n) for v in VOCABULARIES for n in LENGTHS}
        yield {"task": task, **case, "logits": per_logit(at), "peaks": at[VOCABULARIES[1], LENGTHS[1]]}


def per_logit(at: dict[tuple[int, int], dict[str, int]]) -> dict[str, float]:
    """Bytes per token and vocabulary row at each moment, from the peaks by vocabulary and length."""
    (v0, v1), (n0, n1) = VOCABULARIES, LENGTHS
    grown = (v1 - v0) * (n1 - n0) * 2 * PAIRS
    return {
        phase: round((at[v1, n1][phase] - at[v0, n1][phase] - at[v1, n0][phase] + at[v0, n0][phase]) / grown, 2)
        for phase in at[v1, n1]
        if all(phase in peaks for peaks in at.values()) and phase != "layers"  # gradients of weights are part of it
    }


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
