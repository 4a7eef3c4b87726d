"""What would stop a run on this machine, and what to do about it; of one plan, or of any."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from mfc.machine.seen import Card, Machine
from mfc.planner.plan import Plan

GIB = 1 << 30
# NCCL User Guide, Troubleshooting, "Shared memory": containers get 64 MiB by default, and are to be given 1 GiB.
SHARED_MEMORY = GIB
# CUDA Compatibility (docs.nvidia.com/deploy/cuda-compatibility): within a major version of CUDA any driver serves.
RUNTIMES = {"nvidia-cuda-runtime-cu11": 11, "nvidia-cuda-runtime-cu12": 12, "nvidia-cuda-runtime": 13}
# DeepSpeed ops/op_builder/builder.py, `jit_load`: ninja and a compiler, and for CUDA the toolkit.
BUILDERS = (("a C++ compiler", {"c++", "g++"}), ("ninja", {"ninja"}), ("nvcc of the CUDA toolkit", {"nvcc"}))
# What a checkpoint holds of each number that trains: weights, and where the whole state is saved Adam's two moments and
# a master copy in fp32 (DeepSpeed) or two moments (Trainer); the larger is counted.
STATES = 2 + 12


class Finding(NamedTuple):
    """One thing: whether it would stop the run, what it is, and what helps."""

    stops: bool
    text: str
    cure: str = ""


def of_any(machine: Machine) -> Iterator[Finding]:
    """What stands in the way of every run here."""
    if not machine.cards:
        yield Finding(
            True, "; ".join(machine.notes) or "no card", "install the driver, or start the container with --gpus all"
        )
        return
    yield from _cuda(machine)
    for card in machine.cards:
        if card.used_bytes > GIB:
            used = f"{card.used_bytes / GIB:.1f} of {card.memory_bytes / GIB:.1f} GiB are in use"
            cure = "name the free ones (hardware.devices), or leave room (hardware.gpu_reserved)"
            yield Finding(False, f"card {card.number}, {card.name}: {used}", cure)
    if len(machine.cards) > 1:
        yield from _between(machine)


def _cuda(machine: Machine) -> Iterator[Finding]:
    torch, driver = machine.packages.get("torch"), machine.driver
    if torch is None:
        yield Finding(
            False, f"no torch in {machine.environment}", "activate the environment that trains, then ask again"
        )
        return
    if torch.endswith("+cpu"):
        yield Finding(True, f"torch {torch} is built without CUDA", "install the build for your CUDA (pytorch.org)")
    wanted = max((major for name, major in RUNTIMES.items() if name in machine.packages), default=0)
    if driver and driver.cuda and wanted > driver.cuda[0]:
        known = ".".join(map(str, driver.cuda))
        yield Finding(
            True,
            f"torch {torch} brings CUDA {wanted}, and driver {driver.version} runs CUDA up to {known}",
            f"a newer driver, or torch for CUDA {driver.cuda[0]}",
        )


def _between(machine: Machine) -> Iterator[Finding]:
    if any(card.peers == () for card in machine.cards):
        text = "no card reaches another's memory: NCCL goes through host memory"
        yield Finding(
            False, text, "nothing: it is slower, and works; with a driver before 550.40.07 set NCCL_P2P_DISABLE=1"
        )
    size = machine.shared_memory_bytes
    if size is not None and size < SHARED_MEMORY:
        text = f"/dev/shm has {size / (1 << 20):.0f} MiB: NCCL and data loaders share memory there"
        yield Finding(True, text, "start the container with --shm-size=1g or more, or --ipc=host")


def of_plan(machine: Machine, plan: Plan, package: str, free_bytes: int | None) -> Iterator[Finding]:
    """What stands in the way of one plan. `package` holds its framework, `free_bytes` has the disk of its output."""
    yield from _cards(machine, plan)
    absent = [name for name in dict.fromkeys((package, *plan.needs)) if name and name not in machine.packages]
    if absent and machine.packages:
        yield Finding(True, f"not installed in {machine.environment}: {', '.join(absent)}", "pip install them there")
    if plan.strategy.offload_optimizer != "none" and plan.strategy.deepspeed:
        for what, names in BUILDERS:
            if not names & machine.programs and not names & machine.packages.keys():
                text = f"{what} is not found: DeepSpeed compiles its optimizer for the host when the run starts"
                yield Finding(
                    True, text, "install it; CUDA_HOME says where a toolkit is that is not in /usr/local/cuda"
                )
    yield from _host(machine, plan)
    size = checkpoint_bytes(plan)
    if free_bytes is not None and free_bytes < size:
        text = f"checkpoints take up to {size / GIB:.0f} GiB, and {free_bytes / GIB:.0f} GiB are free where they go"
        yield Finding(
            True, text, "fewer of them (run.keep), none on the way (run.save_every: never), or another run.output_dir"
        )


def _cards(machine: Machine, plan: Plan) -> Iterator[Finding]:
    hardware = plan.problem.hardware
    if len(machine.cards) < hardware.gpus_per_node:
        text = f"the spec has {hardware.gpus_per_node} GPUs a node, and {len(machine.cards)} are here"
        yield Finding(True, text, "hardware.count, or start it on the machine that the spec means")
    asked = plan.problem.spec.hardware.devices
    chosen = [card for card in machine.cards if not asked or card.number in asked][: hardware.gpus_per_node]
    for card in chosen:
        if card.memory_bytes - card.used_bytes < plan.memory.process_bytes:
            yield Finding(
                True,
                _full(card, plan.memory.process_bytes),
                "end what runs there, or take other cards (hardware.devices)",
            )


def _full(card: Card, needed: int) -> str:
    free = card.memory_bytes - card.used_bytes
    return f"card {card.number}, {card.name}, has {free / GIB:.1f} GiB free, and the run takes {needed / GIB:.1f}"


def _host(machine: Machine, plan: Plan) -> Iterator[Finding]:
    memory, room = plan.memory, machine.host_memory_bytes
    needed = max(memory.host_bytes_per_node, memory.save_host_bytes, memory.load_host_bytes)
    if room is not None and needed > room:
        text = f"the run takes up to {needed / GIB:.0f} GiB of host memory, and {room / GIB:.0f} GiB are here"
        yield Finding(True, text, f"say so, and mfc plans for it: hardware.host_memory: {room // GIB}GiB")


def _kept(plan: Plan) -> int:
    """Checkpoints that stay; where all do and nothing tells how many steps there are, one for each epoch."""
    run, train = plan.problem.spec.run, plan.problem.spec.train
    if not isinstance(run.keep, str):
        return run.keep
    if train.max_steps and isinstance(run.save_every, int):
        return -(-train.max_steps // run.save_every)
    return math.ceil(train.epochs or 1)


def checkpoint_bytes(plan: Plan) -> int:
    """Bytes on disk of all checkpoints that are kept, the one being written and the trained model; an upper bound."""
    saved = 1 if plan.problem.spec.run.save_every == "never" else _kept(plan) + 2
    whole = plan.strategy.method in ("full", "freeze")
    model = 2 * plan.problem.model.total_parameters if whole else 2 * plan.trainable_parameters
    states = 0 if plan.problem.spec.run.save_every == "never" else STATES * plan.trainable_parameters
    return saved * (model + states)
