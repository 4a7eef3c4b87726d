"""Counts what DeepSpeed's engine holds on the card and on the host: its own code at full width, on fake tensors.

    pip install mfc-compiler torch deepspeed==0.19.8
    DS_ACCELERATOR=cpu python -m benchmarks.count.offload > tests/memory/data/offload.json    # some minutes

One rank of several: collectives return at once. A decoder of linears in the shape of a Llama, few layers deep, under
checkpointing; three steps, the last of which counts. Bytes:

    card      the most that tensors take in the step, by moment (forward, backward, step)
    built     the same while the model is built, and while the engine is
    host      what the process holds after the last step: tensors, and pinned blocks as torch rounds and keeps them
    reserved  what the caching allocator would hold, by how many allocations later a block is free that a second stream
              has used: the GPU lags behind the host
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, NamedTuple

STEPS, TOKENS = 3, 128
LAGS = (0, 50, 300)
SHAPES = {"8B": (4096, 1024, 14336, 128256), "70B": (8192, 1024, 28672, 128256)}


class Case(NamedTuple):
    """One engine. `optimizer`, `parameters`: whether they are offloaded."""

    shape: str
    layers: int
    ranks: int
    stage: int
    optimizer: bool
    parameters: bool = False
    accumulation: int = 1


CASES = [
    Case("8B", 32, 8, 3, optimizer=True, parameters=True),
    Case("70B", 8, 8, 3, optimizer=True, parameters=True),
    Case("8B", 6, 8, 3, optimizer=True, accumulation=2),
    Case("8B", 4, 8, 2, optimizer=True, accumulation=2),
]


def traced(case: Case) -> list[Any]:
    """The events of one engine. A process runs one: DeepSpeed's state is global."""
    os.environ |= {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": str(case.ranks), "LOCAL_SIZE": str(case.ranks)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    import deepspeed
    import torch
    from deepspeed.accelerator import set_accelerator
    from torch._subclasses.fake_tensor import FakeTensorMode

    from benchmarks.count.card import CARD, Card, Log, alone

    log = Log()
    set_accelerator(Card(log, case.ranks))
    alone(log, case.ranks)
    with FakeTensorMode(allow_non_fake_inputs=True), log:
        log.phase = "model"
        torch.set_default_dtype(torch.bfloat16)
        config = _config(case)
        with deepspeed.zero.Init(config_dict_or_path=config) if case.stage == 3 else torch.device(CARD):
            model = _decoder(case)
        torch.set_default_dtype(torch.float32)
        log.phase = "engine"
        adam = deepspeed.ops.adam.DeepSpeedCPUAdam if case.optimizer else torch.optim.AdamW
        keys = {} if case.optimizer else {"foreach": False}
        engine, *_ = deepspeed.initialize(model=model, config=config, optimizer=adam(model.parameters(), **keys))
        for step in range(STEPS):
            for _ in range(case.accumulation):
                ids = torch.zeros(1, TOKENS, dtype=torch.long, device=CARD)
                log.phase = f"forward {step}"
                loss = engine(ids)
                log.phase = f"backward {step}"
                engine.backward(loss)
                del loss
                log.phase = f"step {step}"
                engine.step()
    return log.events


def _config(case: Case) -> dict[str, Any]:
    """What the Trainer's "auto" comes to, with the library's defaults."""
    hidden = SHAPES[case.shape][0]
    zero: dict[str, Any] = {"stage": case.stage, "reduce_bucket_size": hidden**2}
    if case.stage == 3:
        zero |= {
            "stage3_prefetch_bucket_size": int(0.9 * hidden**2),
            "stage3_param_persistence_threshold": 10 * hidden,
        }
    if case.optimizer:
        zero["offload_optimizer"] = {"device": "cpu"}
    if case.parameters:
        zero["offload_param"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": case.accumulation,
        "zero_optimization": zero,
        "bf16": {"enabled": True, "check_grad_overflow": False},
        "zero_allow_untested_optimizer": True,
    }


def _decoder(case: Case) -> Any:
    import torch
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    hidden, kv, width, vocab = SHAPES[case.shape]

    class Layer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            sides = {"q": (hidden, hidden), "k": (hidden, kv), "v": (hidden, kv), "o": (hidden, hidden)}
            sides |= {"gate": (hidden, width), "up": (hidden, width), "down": (width, hidden)}
            for name, (inner, outer) in sides.items():
                setattr(self, name, nn.Linear(inner, outer, bias=False))
            self.before, self.middle = nn.RMSNorm(hidden), nn.RMSNorm(hidden)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.before(x)
            x = x + self.o(self.q(y) + (self.k(y) + self.v(y)).repeat(1, 1, hidden // kv))
            y = self.middle(x)
            out: torch.Tensor = x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))
            return out

    class Decoder(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(vocab, hidden)
            self.layers = nn.ModuleList(Layer() for _ in range(case.layers))
            self.norm, self.head = nn.RMSNorm(hidden), nn.Linear(hidden, vocab, bias=False)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.embedding(ids)
            for layer in self.layers:
                x = checkpoint(layer, x, use_reentrant=False)
            logits = self.head(self.norm(x)).float().view(-1, vocab)
            return nn.functional.cross_entropy(logits, ids.view(-1))

    return Decoder()


def counted(events: Iterable[Any]) -> dict[str, Any]:
    """The figures of one engine."""
    events = list(events)
    last = str(STEPS - 1)
    peaks = _peaks(events)
    return {
        "card": {name: peaks[f"{name} {last}"] for name in ("forward", "backward", "step")},
        "built": {name: peaks[name] for name in ("model", "engine")},
        "host": _host(events),
        "reserved": {str(lag): _reserved(events, lag) for lag in LAGS},
    }


def _peaks(events: Iterable[Any]) -> dict[str, int]:
    """Bytes in tensors on the card at most, by phase."""
    total, peaks = 0, defaultdict[str, int](int)
    for event in events:
        if event.place not in ("host", "pinned"):
            total += event.size
            peaks[event.phase] = max(peaks[event.phase], total)
    return peaks


def _host(events: Iterable[Any]) -> int:
    """Bytes on the host in the end. torch rounds pinned blocks up to a power of two and keeps those that are free."""
    total, free, sizes = 0, Counter[int](), {}
    for event in events:
        if event.place == "host":
            total += event.size
        elif event.place == "pinned" and event.size > 0:
            size = sizes[event.block] = 1 << (event.size - 1).bit_length()
            if free[size]:
                free[size] -= 1
            else:
                total += size
        elif event.place == "pinned":
            free[sizes[event.block]] += 1
    return total


def _reserved(events: Iterable[Any], lag: int) -> int:
    """Bytes of all streams' pools in the end."""
    from benchmarks.count.allocator import Allocator

    pools: dict[str, Any] = defaultdict(Allocator)
    blocks: dict[int, Any] = {}
    used: dict[int, set[str]] = defaultdict(set)
    late: deque[tuple[int, int]] = deque()
    for now, event in enumerate(events):
        while late and late[0][0] <= now:
            place, block = blocks.pop(late.popleft()[1])
            pools[place].give(block)
        if event.place in ("host", "pinned"):
            continue
        if event.size > 0:
            blocks[event.block] = event.place, pools[event.place].take(event.size)
        elif event.size == 0:
            used[event.block].add(event.place)
        elif lag and used[event.block] - {blocks[event.block][0]}:
            late.append((now + lag, event.block))
        else:
            place, block = blocks.pop(event.block)
            pools[place].give(block)
    return sum(pool.reserved for pool in pools.values())


def main() -> int:
    rows = []
    for number, case in enumerate(CASES):
        read, write = os.pipe()
        if os.fork() == 0:  # DeepSpeed's state is global: a process for each
            os.dup2(2, 1)
            with os.fdopen(write, "w") as out:
                json.dump(counted(traced(case)), out)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as answer:
            rows.append({**case._asdict(), **json.load(answer)})
        os.wait()
        print(f"{number + 1} of {len(CASES)}", file=sys.stderr)
    shapes = {name: dict(zip(("hidden", "kv", "width", "vocab"), shape, strict=True)) for name, shape in SHAPES.items()}
    versions = {name: version(name) for name in ("deepspeed", "torch")}
    json.dump({"versions": versions, "tokens": TOKENS, "shapes": shapes, "rows": rows}, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
