"""Specs made from a product of machines and methods, with tasks, sharding and models dealt out by a fixed seed.

Every machine meets every method; tasks and pins go round so that each meets many machines. A model is drawn among those
that the machine can be expected to train with the method: each spec is one that mfc has to compile.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SEED = 20261121
METHODS = ("lora", "full", "qlora", "freeze")
TASKS = ("sft", "dpo", "pretrain", "kto", "orpo", "reward", "simpo", "ppo")
SHORT = (512, 1024, {"min": 256, "max": 4096})
LONG = (1024, 2048, {"min": 512, "max": 8192})
# Strategies to pin, with the methods they are pinned for; DeepSpeed's stages also run on one GPU.
PINS: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({}, METHODS),
    ({"sharding": "zero2"}, METHODS),
    ({"gradient_checkpointing": True, "micro_batch": 1}, METHODS),
    ({"sharding": "zero3"}, ("lora", "full")),
    ({"sharding": "zero2", "offload": {"optimizer": "cpu"}}, ("full",)),
    ({"sharding": "zero1", "loss": "plain"}, METHODS),
    ({"sharding": "zero3", "offload": {"optimizer": "cpu", "parameters": "cpu"}}, ("full", "lora")),
    ({"sharding": "ddp", "attention": "eager"}, ("lora", "qlora")),
)


@dataclass(frozen=True, slots=True)
class Machine:
    gpu: str
    memory: int  # GiB per GPU
    count: int = 1
    nodes: int = 1

    def hardware(self) -> dict[str, Any]:
        several = {"nodes": self.nodes, "interconnect": {"inter": "200Gbps"}} if self.nodes > 1 else {}
        return {"gpu": self.gpu, "count": self.count, "host_memory": f"{128 * self.count}GiB", **several}

    def largest(self, method: str) -> float:
        """Billions of parameters to expect of it: bytes per parameter of the states, with room for activations."""
        gpus = self.count * self.nodes
        return {
            "full": self.memory * gpus / 28,
            "lora": self.memory / 4,
            "qlora": self.memory / 3,
            "freeze": self.memory / 6,
        }[method]


MACHINES = (
    Machine("GTX 1080 Ti", 11),
    Machine("RTX 2080 Ti", 11, 2),
    Machine("T4", 15, 4),
    Machine("V100 SXM2 32GB", 32, 8),
    Machine("RTX 3060", 12),
    Machine("RTX 3090", 24, 2),
    Machine("RTX 4090", 24, 4),
    Machine("RTX 5090", 32, 8),
    Machine("L4", 22, 3),
    Machine("A10", 22, 6),
    Machine("A100 SXM 40GB", 40, 8),
    Machine("A100 SXM 80GB", 80, 2),
    Machine("RTX PRO 6000 Blackwell", 96),
    Machine("H100 SXM", 80, 8, nodes=2),
    Machine("H20", 96, 4),
    Machine("MI300X", 192, 8),
    Machine("B200", 180, 16),
)
MODELS = {
    "Qwen/Qwen2.5-0.5B-Instruct": 0.5,
    "Qwen/Qwen3-0.6B": 0.6,
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1.1,
    "meta-llama/Llama-3.2-1B-Instruct": 1.3,
    "Qwen/Qwen2-1.5B-Instruct": 1.6,
    "google/gemma-2-2b-it": 2.6,
    "microsoft/phi-2": 2.8,
    "meta-llama/Llama-3.2-3B-Instruct": 3.2,
    "microsoft/Phi-3-mini-4k-instruct": 3.8,
    "Qwen/Qwen3-4B": 4.0,
    "01-ai/Yi-1.5-6B-Chat": 6.1,
    "meta-llama/Llama-2-7b-chat-hf": 6.8,
    "mistralai/Mistral-7B-Instruct-v0.3": 7.3,
    "meta-llama/Llama-3.1-8B-Instruct": 8.0,
    "google/gemma-2-9b-it": 9.3,
    "Qwen/Qwen2.5-14B-Instruct": 14.8,
    "Qwen/Qwen3-30B-A3B": 30.5,
    "Qwen/Qwen2.5-32B-Instruct": 32.8,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 46.7,
    "meta-llama/Llama-3.3-70B-Instruct": 70.6,
}


def specs(tasks: tuple[str, ...] = TASKS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and specs as mappings, without targets; the same ones every time."""
    rng = random.Random(SEED)
    pins = itertools.cycle(PINS)
    for number, (machine, method) in enumerate(itertools.product(MACHINES, METHODS)):
        task = tasks[(number + number // len(METHODS)) % len(tasks)]
        lengths = SHORT if machine.memory < 30 else LONG
        length = lengths[number % len(lengths)]
        pin = next(pin for pin, methods in pins if method in methods)
        models = 3 if task == "ppo" else 2 if task in ("dpo", "kto") and method in ("full", "freeze") else 1
        room = machine.largest(method) / models
        fitting = [name for name, size in MODELS.items() if size <= room] or [next(iter(MODELS))]
        model = rng.choice(fitting[-6:])
        gpus = machine.count * machine.nodes
        yield (
            f"{machine.gpu}-x{gpus}-{method}-{task}".lower().replace(" ", "-"),
            {
                "model": model,
                "hardware": machine.hardware(),
                "data": {"train": "train.jsonl", "max_length": length},
                "train": {
                    "task": task,
                    "method": method,
                    "batch_size": gpus * rng.choice((4, 8, 16)),
                    **({"lora": {"rank": rng.choice((8, 16, 64))}} if method in ("lora", "qlora") else {}),
                    **({"rollout": {"rewards": ["reward-model"]}} if task == "ppo" else {}),
                },
                **({"strategy": pin} if pin else {}),
            },
        )


def recipes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Words of the recipe and the run that no drawn spec says, for targets whose trainer is transformers'."""
    said: tuple[tuple[dict[str, Any], ...], ...] = (
        ({"warmup": 100}, {"save_every": "never", "eval_every": 25, "eval_micro_batch": 2, "timeout": "90min"}),
        ({"schedule": "cosine_with_min_lr", "min_learning_rate": 1e-6}, {"save_every": 100, "eval_every": "epoch"}),
        ({"schedule": "warmup_stable_decay", "decay": "20%", "min_learning_rate": 1e-6}, {"save_every": 50}),
    )
    for number, (optim, run) in enumerate(said):
        yield (
            f"recipe-{number}",
            {
                "model": "Qwen/Qwen2.5-0.5B-Instruct",
                "hardware": {"gpu": "A100 SXM 80GB", "count": 2},
                "data": {
                    "train": [{"path": "a.jsonl", "weight": 3}, {"path": "b.jsonl"}],
                    "eval": "2%",
                    "max_length": 1024,
                    "system": "Be {brief}.\nAnd kind.",
                    "workers": 0,
                    "preprocessing_workers": 2,
                },
                "train": {"batch_size": 16, "max_steps": 400, "optim": optim},
                "run": run,
            },
        )
