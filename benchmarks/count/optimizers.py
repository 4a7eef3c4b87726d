"""Counts what GaLore, APOLLO and BAdam hold, with their own classes on small models of real code, on the CPU.

    pip install mfc-compiler torch transformers galore-torch apollo-torch badam
    python -m benchmarks.count.optimizers > tests/memory/data/optimizers.json

Bytes. `state` is all tensors the optimizer keeps, `projector` of it the projection matrices. `first`, `later` and
`again` are what one step holds at most besides weights, gradients and state: the first step, one that does not project
anew, and one that does. `gradients` are the most bytes of gradients that exist at once in a backward pass. What LAPACK
copies for itself is not seen, and every tensor counts as a multiple of 512 bytes.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Any

import torch
import transformers
from apollo_torch.apollo import AdamW as Apollo
from badam import BlockOptimizer
from galore_torch.adamw import AdamW as GaLore
from mfc.simulate.tracker import Tracker

SIZE = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 3, "vocab_size": 512,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SIZE, "head_dim": 64, "tie_word_embeddings": False},
    "qwen2": {"model_type": "qwen2", **SIZE, "tie_word_embeddings": True},
    "mixtral": {"model_type": "mixtral", **SIZE, "head_dim": 64, "tie_word_embeddings": False,
                "num_local_experts": 4, "num_experts_per_tok": 2},
}  # fmt: skip
CASES = [  # model, 16 bit, optimizer, rank, layerwise
    *(("llama", half, name, r, False) for half in (True, False) for name in ("galore", "apollo") for r in (8, 64)),
    *(("llama", half, name, 16, True) for half in (True, False) for name in ("galore", "apollo")),
    *((model, True, name, 16, False) for model in ("qwen2", "mixtral") for name in ("galore", "apollo")),
    ("llama", True, "apollo", 1, False),
    ("llama", True, "badam", 0, False),
    ("qwen2", True, "badam", 0, False),
]  # fmt: skip


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """All tensors within an optimizer's state but single numbers."""
    if isinstance(value, torch.Tensor):
        if value.numel() > 1:
            yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from tensors(each)
    elif hasattr(value, "ortho_matrix"):
        yield from tensors(vars(value))


def held(*values: Any) -> int:
    """Bytes of the storages behind them: a view counts as what it keeps alive."""
    storages = [tensor.untyped_storage() for value in values for tensor in tensors(value)]
    return sum({storage._cdata: storage.nbytes() for storage in storages}.values())


def groups(model: torch.nn.Module, name: str, rank: int) -> list[dict[str, Any]]:
    """LLaMA-Factory's groups in their order: vectors, other matrices, and every linear but the head, projected."""
    linears = [m.weight for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    ids = {id(p) for p in linears}
    options = {"rank": rank, "update_proj_gap": 2, "scale": 2.0, "proj_type": "std"}
    if name == "apollo":
        options |= {"proj": "random", "scale_type": "channel" if rank > 1 else "tensor"}
    rest = [p for p in model.parameters() if id(p) not in ids]
    plain = [{"params": [p for p in rest if (p.ndim > 1) == wide], "weight_decay": 0.0} for wide in (False, True)]
    return [*plain, {"params": linears, "weight_decay": 0.0, **options}]


def backward(model: torch.nn.Module, after: Callable[[torch.nn.Parameter], None] | None = None) -> int:
    """One backward pass; the most bytes of gradients at once."""
    most = 0

    def hook(parameter: torch.nn.Parameter) -> None:
        nonlocal most
        most = max(most, sum(p.grad.nbytes for p in model.parameters() if p.grad is not None))
        if after:
            after(parameter)

    hooks = [p.register_post_accumulate_grad_hook(hook) for p in model.parameters() if p.requires_grad]
    ids = torch.randint(0, SIZE["vocab_size"], (2, 16))
    model(input_ids=ids, labels=ids).loss.backward()
    for each in hooks:
        each.remove()
    return most


def step(optimizer: Any, model: torch.nn.Module, owners: list[Any], copies: Iterable[torch.Tensor] = ()) -> int:
    """Peak bytes of one step over what is left after it."""
    known = [t for p in model.parameters() for t in (p, p.grad) if t is not None]
    known += [*copies, *(t for owner in owners for t in tensors(dict(owner.state)))]
    tracker = Tracker()
    tracker.phase = "optimizer"
    for tensor in known:
        tracker.note(tensor, "known")
    del known, tensor  # they would keep alive what the step replaces
    with tracker:
        optimizer.step()
    gc.collect()
    return tracker.peaks["optimizer"].size - tracker.total


def measure(kind: str, half: bool, name: str, rank: int, layerwise: bool) -> dict[str, Any]:
    """One case."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(**MODELS[kind])
    model = transformers.AutoModelForCausalLM.from_config(config).to(torch.bfloat16 if half else torch.float32)
    row: dict[str, Any] = {"model": kind, "half": half, "optimizer": name, "rank": rank, "layerwise": layerwise}
    row["parameters"] = sum(p.numel() for p in model.parameters())
    if name == "badam":
        named = list(model.named_parameters())
        base = torch.optim.AdamW([{"params": [p for _, p in named], "weight_decay": 0.0}], foreach=True)
        blocks = BlockOptimizer(base, named, switch_block_every=2, switch_mode="ascending", verbose=0)
        row["trained"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
        row["gradients"] = backward(model)
        copies = sum(p.nbytes for p in blocks.param_idx2hp.values())
        blocks.switch_block_every = 10**9
        row["first"] = step(blocks, model, [base], blocks.param_idx2hp.values())
        row["state"] = held(dict(base.state)) + copies
        blocks.switch_trainable_params()
        row["after_switch"] = held(dict(base.state)) + sum(p.nbytes for p in blocks.param_idx2hp.values())
        return row
    make = GaLore if name == "galore" else Apollo
    if layerwise:
        options = {
            id(p): {k: v for k, v in g.items() if k != "params"} for g in groups(model, name, rank) for p in g["params"]
        }
        every = {id(p): make([{"params": [p], **options[id(p)]}], lr=1e-3) for p in model.parameters()}

        def update(parameter: torch.nn.Parameter) -> None:
            every[id(parameter)].step()
            parameter.grad = None

        row["gradients"] = backward(model, update)
        owners = list(every.values())
    else:
        optimizer = make(groups(model, name, rank), lr=1e-3)
        row["gradients"] = backward(model)
        owners = [optimizer]
        row["first"] = step(optimizer, model, owners)
        row["later"] = step(optimizer, model, owners)
        row["again"] = step(optimizer, model, owners)
    row["state"] = held(*(dict(o.state) for o in owners))
    row["projector"] = held(*(s["projector"] for o in owners for s in o.state.values() if "projector" in s))
    return row


if __name__ == "__main__":
    stamp = {name: version(name) for name in ("torch", "transformers", "galore-torch", "apollo-torch", "badam")}
    with contextlib.redirect_stdout(sys.stderr):  # BAdam prints
        rows = [measure(*case) for case in CASES]
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    models = ",\n".join(f"  {json.dumps(name)}: {json.dumps(config)}" for name, config in MODELS.items())
    print(f'{{"versions": {json.dumps(stamp)},\n "models": {{\n{models}\n }},\n "rows": [\n{lines}\n]}}')
