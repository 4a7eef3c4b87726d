"""mfc beside other estimators: the same ten questions, the CPU time of each command and what it answers.

    python -m benchmarks.measure.peers [--runs N] [--write]

Each tool is installed, at the version below, into an environment of its own under the user's cache folder, with what it
needs to answer at all. Nothing is fetched for the questions: every tool finds the same config.json of a model, made of
mfc's catalogue, in a cache of the Hub. CPU time (user and system, imports included) is the smallest of N runs, taken in
turns so that a busy machine hits all alike. `--write` makes docs/peers.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from mfc._version import __version__
from mfc.catalog.models import rows

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mfc", "peers")
DOCS = Path(__file__).parents[2] / "docs" / "peers.md"
GIB = 2**30
NO = "—"


class Question(NamedTuple):
    """How much of one GPU does this take? Micro-batch 1, rank 16 on attention, AdamW, checkpointing."""

    model: str
    method: str
    length: int
    gpu: str
    memory: int  # GiB


QUESTIONS = (
    Question("Qwen/Qwen2.5-7B", "lora", 2048, "RTX 4090", 24),
    Question("Qwen/Qwen2.5-7B", "qlora", 4096, "RTX 4090", 24),
    Question("meta-llama/Llama-3.1-8B", "lora", 2048, "RTX 4090", 24),
    Question("meta-llama/Llama-3.1-8B", "qlora", 2048, "RTX 3090", 24),
    Question("mistralai/Mistral-7B-v0.3", "qlora", 8192, "RTX 4090", 24),
    Question("Qwen/Qwen3-8B", "lora", 4096, "A6000", 48),
    Question("google/gemma-2-9b", "lora", 2048, "A6000", 48),
    Question("microsoft/phi-4", "qlora", 2048, "RTX 4090", 24),
    Question("Qwen/Qwen3-32B", "qlora", 2048, "A6000", 48),
    Question("Qwen/Qwen2.5-7B", "full", 2048, "A100 80GB", 80),
)


class Peer(NamedTuple):
    """A tool: what is installed for it, the command that asks it, and how its answer is read, in GiB."""

    name: str
    requirements: tuple[str, ...]
    command: Callable[[Question], tuple[str, ...]]
    answer: Callable[[str], float | None]
    version: str = ""
    file: tuple[str, Callable[[Question], Mapping[str, Any]]] | None = None  # that it reads: its name and content


def _mfc(question: Question) -> Mapping[str, Any]:
    lora = {} if question.method == "full" else {"lora": {"rank": 16, "targets": "attention"}}
    return {
        "model": question.model,
        "hardware": {"gpu": question.gpu, "count": 1},
        "data": {"path": "rows.jsonl", "format": "messages", "max_length": question.length},
        "train": {"method": question.method, "batch_size": 1, **lora},
        "strategy": {
            "micro_batch": 1,
            "gradient_checkpointing": True,
            "optimizer": "adamw",
            "sharding": "ddp",
        },
        "targets": ["trl"],
    }


def _soup(question: Question) -> Mapping[str, Any]:
    lora = {} if question.method == "full" else {"lora": {"r": 16, "alpha": 32}}
    return {
        "base": question.model,
        "task": "sft",
        "data": {"train": "rows.jsonl", "format": "chatml", "max_length": question.length},
        "training": {
            "epochs": 1,
            "batch_size": 1,
            "gradient_checkpointing": True,
            "quantization": "4bit" if question.method == "qlora" else "none",
            "optimizer": "adamw_torch",
            **lora,
        },
    }


def _member(path: str, scale: float = 1.0) -> Callable[[str], float | None]:
    """Reads one number of the JSON that a tool prints, whatever it says before."""

    def read(said: str) -> float | None:
        try:
            found: Any = json.loads(said[said.index("{") :])
            for name in path.split("."):
                found = found[int(name)] if isinstance(found, list) else found[name]
            return float(found) * scale
        except (ValueError, KeyError, IndexError, TypeError):
            return None

    return read


def _written(pattern: str) -> Callable[[str], float | None]:
    """Reads the first number of a text that is written so."""

    def read(said: str) -> float | None:
        found = re.search(pattern, said)
        return float(found.group(1)) if found else None

    return read


FITCHECK = {"RTX 4090": "4090", "RTX 3090": "3090", "A6000": "a6000", "A100 80GB": "a100-80"}
PEERS = (
    Peer(
        "mfc",
        (),
        lambda _: ("plan", "spec.yaml", "--format", "json"),
        _member("plans.0.memory.gpu.peak_bytes", 1 / GIB),
        __version__,
        ("spec.yaml", _mfc),
    ),
    Peer(
        "canifinetune",
        ("canifinetune==0.4.1",),
        lambda q: (
            *("estimate", "--model", q.model, "--gpu-vram-gb", str(q.memory), "--method", q.method, "--seq-len"),
            *(str(q.length), "--optimizer", "adamw_torch", "--json"),
        ),
        _member("memory.total_estimated_gb"),
    ),
    Peer(
        "ftune",
        ("ftuneai[cli]==0.4.1",),
        lambda q: (
            *("estimate", "-m", q.model, "--method", q.method, "-q", "4bit" if q.method == "qlora" else "none"),
            *("-b", "1", "-s", str(q.length), "--lora-target", "attention_all", "-o", "json"),
        ),
        _member("memory.total_gb"),
    ),
    Peer(
        "fitcheck",
        ("fitcheck-llm==0.3.1",),
        lambda q: (
            *(q.model, "--gpu", FITCHECK[q.gpu], "--seq-len", str(q.length), "--flash-attn", "--json"),
            *{"lora": ("--grad-checkpoint",), "qlora": ("--qlora",), "full": ("--no-lora", "--grad-checkpoint")}[
                q.method
            ],
        ),
        _member("memory_mib.total", 1 / 1024),
    ),
    Peer(
        "fitscout",
        ("fitscout==0.1.1", "transformers", "safetensors"),
        lambda q: (q.model, "--vram", str(q.memory), "--bf16", "--seq-len", str(q.length)),
        _written(r"(?i)(?:est|total|peak)[^\n]*?([\d.]+) ?Gi?B"),
    ),
    Peer(
        "soup",
        ("soup-cli==0.77.0",),
        lambda _: ("--no-telemetry", "profile", "--config", "soup.yaml", "--json"),
        _member("total_memory_gb"),
        file=("soup.yaml", _soup),
    ),
)


def program(peer: Peer) -> list[str]:
    """The command of a tool, installed where it is not there yet."""
    if not peer.requirements:
        return [sys.executable, "-m", peer.name]
    home = CACHE / f"{peer.name}-{peer.requirements[0].partition('==')[2]}"
    if not (home / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", os.fspath(home)], check=True)
        subprocess.run([home / "bin" / "pip", "install", "-q", *peer.requirements], check=True)
        (home / "ready").touch()
    return [os.fspath(home / "bin" / peer.name)]


def hub(folder: Path) -> None:
    """A cache of the Hub with the config.json of every model that is asked about."""
    configs = {row["id"]: row["config"] for row in rows()}
    for name in {question.model for question in QUESTIONS}:
        home, revision = folder / f"models--{name.replace('/', '--')}", "0" * 40
        (home / "snapshots" / revision).mkdir(parents=True)
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text(revision)
        (home / "snapshots" / revision / "config.json").write_text(json.dumps(configs[name]))


class Answer(NamedTuple):
    """What came of one question to one tool."""

    seconds: float
    gib: float | None


def ask(peer: Peer, question: Question, command: list[str], caches: Path) -> Answer:
    """The CPU time of the command, and what it says. A tool that refuses has no answer."""
    environment = {**os.environ, "HF_HUB_CACHE": os.fspath(caches), "HF_HUB_OFFLINE": "1", "SOUP_NO_AUDIT_LOG": "1"}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rows.jsonl").write_text('{"messages": []}\n')
        if peer.file:
            Path(folder, peer.file[0]).write_text(yaml.safe_dump(dict(peer.file[1](question))))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*command, *peer.command(question)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Answer(spent, peer.answer(done.stdout))


def measure(runs: int) -> dict[str, list[Answer]]:
    """The answers of every tool, each with its smallest CPU time."""
    commands = {peer.name: program(peer) for peer in PEERS}
    best: dict[tuple[str, Question], Answer] = {}
    with tempfile.TemporaryDirectory() as folder:
        hub(Path(folder))
        for _ in range(runs):
            for question in QUESTIONS:
                for peer in PEERS:
                    got = ask(peer, question, commands[peer.name], Path(folder))
                    best[peer.name, question] = min(best.get((peer.name, question), got), got)
    return {peer.name: [best[peer.name, question] for question in QUESTIONS] for peer in PEERS}


def table(found: Mapping[str, list[Answer]]) -> str:
    """Questions down, tools across: GiB, and below the CPU time of the ten."""
    lines = [f"| question | {' | '.join(found)} |", f"|---|{'---:|' * len(found)}"]
    for place, question in enumerate(QUESTIONS):
        said = [f"{answers[place].gib:.1f}" if answers[place].gib else NO for answers in found.values()]
        asked = f"{question.model.partition('/')[2]}, {question.method}, {question.length} tokens, {question.gpu}"
        lines.append(f"| {asked} | {' | '.join(said)} |")
    own = sum(answer.seconds for answer in found["mfc"])
    times = {name: sum(answer.seconds for answer in answers) for name, answers in found.items()}
    lines.append(
        f"| **CPU seconds a question** | {' | '.join(f'{time / len(QUESTIONS):.2f}' for time in times.values())} |"
    )
    lines.append(f"| **beside mfc** | {' | '.join(f'{time / own:.2f}' for time in times.values())} |")
    return "\n".join(lines)


def page(made: str, runs: int) -> str:
    """docs/peers.md, with the table."""
    versions = ", ".join(", ".join(peer.requirements) or f"mfc {peer.version}" for peer in PEERS)
    return f"""# Other estimators, side by side

How much of one GPU does a training step take, in GiB, and how long does the answer take? Made by
`python -m benchmarks.measure.peers --write` on {datetime.date.today()}: {versions}; Python
{platform.python_version()}, no network, CPU time of whole commands, smallest of {runs}.

{made}

Asked with micro-batch 1, rank 16 on the attention's matrices, AdamW and gradient checkpointing; fitscout takes none
of that and answers for the method and the batch that it would choose itself. {NO} stands where a tool has no answer
without a network, or refuses. The tools do not mean the same by their numbers: mfc gives what the process takes under
TRL, which never makes whole logits, the others mostly weights, states, activations and logits with a margin of their
own, and none of the rows was measured here ([memory-model.md](memory-model.md) holds mfc against runs that were). In
its time mfc also looks at every strategy that TRL can run within the spec, checks that the files can be written, and
says why each value is what it is.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = measure(options.runs)
    made = table(found)
    if options.write:
        DOCS.write_text(page(made, options.runs), encoding="utf-8")
    print(made)


if __name__ == "__main__":
    main()
