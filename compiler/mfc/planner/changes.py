"""What a spec may change when nothing fits, kind by kind, the least invasive first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.fields import RELAXED, SPEC_PATHS, simplicity
from mfc.rules.packages import EXAMPLES

if TYPE_CHECKING:
    from mfc.catalog.gpu import Gpu
    from mfc.planner.plan import Plan
    from mfc.problem import Problem

Edit = Mapping[str, Any]  # dotted spec path -> value

GRID = 256  # tokens: the step of lengths in a range, as mfc.planner.space.domain has it
HOST_SIZES = (64, 128, 256, 512, 1024, 2048, 4096)  # GiB of RAM that servers are sold with
NODES = (2, 4, 8, 16)  # times as many
INTER = "100Gbps"  # a network to plan more nodes with, where the spec has one node only: what fits does not hang on it
_GPUS = 8  # that one node holds at most
_RANKS = (8, 16, 32, 64, 128)
_OPTIMIZERS = ("paged_adamw_8bit", "adafactor")  # that keep less than those which the search tries
_PIXELS = (2, 4, 8, 16)  # parts of an image's pixels


class Change(NamedTuple):
    """One kind of change: its edits, the mildest first, each of which needs less memory than those before it.

    `free`: it asks for no other machines.
    """

    edits: tuple[Edit, ...]
    free: bool = True


def freed(problem: Problem) -> Edit:
    """Every pinned knob that costs no result, left to mfc."""
    return {SPEC_PATHS[name]: "auto" for name in RELAXED if name in problem.pins}


def changes(problem: Problem, plan: Plan, packages: Sequence[str]) -> tuple[Change, ...]:
    """Every kind of change that a problem leaves, but pinned knobs. `plan` is the one nearest to fitting.

    `packages` are those for want of whose declaration a rule said no.
    """
    found = [*_undeclared(plan, packages), *_rollouts(problem, plan), *_shorter(plan), *_pictures(plan)]
    found += [*_gentler(problem, plan), *_machines(problem)]
    return tuple(change for change in found if change.edits)


def smaller_models(problem: Problem) -> Change:
    """Models that differ from the one at hand by their size alone, the largest first."""
    from mfc.catalog import models

    known = models.smaller(problem.model.name) if problem.spec.model.config is None else ()
    return Change(tuple({"model": name} for name in known))


def with_batch(problem: Problem, edit: Edit) -> Edit:
    """An edit, and where a pinned batch no longer divides among the GPUs, the next larger one that does."""
    spec, batch = problem.spec, problem.spec.train.batch_size
    world = edit.get("hardware.count", spec.hardware.count) * edit.get("hardware.nodes", spec.hardware.nodes)
    unit = world * problem.pins.get("micro_batch", 1) if edit.get("strategy.micro_batch") != "auto" else world
    if world == problem.hardware.world_size or not isinstance(batch, int) or batch % unit == 0:
        return edit
    return {**edit, "train.batch_size": -(-batch // unit) * unit}


def _undeclared(plan: Plan, packages: Sequence[str]) -> Iterator[Change]:
    for package in packages:
        yield Change(({f"targets.{plan.profile.target}.packages.{package}": EXAMPLES[package]},))


def _rollouts(problem: Problem, plan: Plan) -> Iterator[Change]:
    asked = problem.spec.train.rollout
    for name in ("gpu_memory_utilization", "sleep", "tensor_parallel", "mode", "gpus"):
        if getattr(asked, name) != "auto":
            yield Change(({f"train.rollout.{name}": "auto"},))
    if asked.mode == "colocate" and problem.hardware.world_size > 1:
        yield Change(({"train.rollout.mode": "server"},))
    if (longest := plan.values.get("max_completion_length")) is not None:
        yield Change(tuple({"train.rollout.max_completion_length": size} for size in _below(longest)))


def _shorter(plan: Plan) -> Iterator[Change]:
    yield Change(tuple({"data.max_length": size} for size in _below(plan.strategy.max_length)))


def _below(length: int) -> range:
    """Every length of the grid below one, the longest first."""
    return range((length - 1) // GRID * GRID, 0, -GRID)


def _pictures(plan: Plan) -> Iterator[Change]:
    pixels = plan.values.get("image_max_pixels")
    if pixels is not None:
        if plan.problem.spec.data.image.share == "auto":  # that every row holds an image was assumed
            yield Change(({"data.image.share": 0},))
        vision = plan.problem.model.architecture.vision
        mining = vision.mining if vision else None
        sizes = mining.below(pixels) if mining else [pixels // part for part in _PIXELS]
        yield Change(tuple({"data.image.max_pixels": size} for size in sizes))
        if "vision" not in plan.strategy.freeze_parts and plan.strategy.lora is None:
            yield Change(({"train.freeze_parts": "auto"},))


def _gentler(problem: Problem, plan: Plan) -> Iterator[Change]:
    """Training that changes less of the model, or keeps less of it in memory."""
    lora, method = plan.strategy.lora, problem.spec.train.method
    if lora is not None and lora.modules_to_save:
        yield Change(({"train.lora.modules_to_save": "[]"},))
    if lora is not None:
        ranks = [rank for rank in reversed(_RANKS) if rank < lora.rank]
        yield Change(tuple({"train.lora.rank": rank} for rank in ranks))
    if method == "full" and problem.pins.get("precision") != "pure_bf16" and problem.hardware.gpu.bf16:
        yield Change(({"train.precision": "pure_bf16"},))
    if plan.strategy.quantization and plan.strategy.quantization.bits == 8 and not plan.strategy.quantization.pre:
        yield Change(({"train.quantization.bits": 4},))
    if method in ("full", "freeze"):
        known = plan.profile.can("optimizer")
        yield from (Change(({"strategy.optimizer": each},)) for each in _OPTIMIZERS if each in known)
    if method in ("full", "lora", "freeze"):
        gentler = [each for each in ("lora", "qlora") if simplicity("method", each) > simplicity("method", method)]
        yield Change(tuple({"train.method": each} for each in gentler or ("lora", "qlora")))


def _machines(problem: Problem) -> Iterator[Change]:
    hardware = problem.hardware
    known, count = hardware.host_memory_bytes or 0, problem.spec.hardware.count
    rooms = [size for size in HOST_SIZES if size * 2**30 > known]
    yield Change(tuple({"hardware.host_memory": f"{size}GiB"} for size in rooms), free=False)
    more = [count * factor for factor in (2, 4, 8) if count * factor <= _GPUS]
    if not problem.spec.hardware.devices:
        yield Change(tuple({"hardware.count": each} for each in more), free=False)
    nodes = problem.spec.hardware.nodes
    inter = {"hardware.interconnect.inter": INTER} if problem.spec.hardware.interconnect.inter == "auto" else {}
    yield Change(tuple({"hardware.nodes": nodes * factor, **inter} for factor in NODES), free=False)
    kept = {f"hardware.gpu.{name}": "auto" for name in problem.spec.hardware.gpu.model_fields_set - {"name"}}
    yield Change(tuple({"hardware.gpu": gpu.name, **kept} for gpu in _larger_cards(problem)), free=False)


def _larger_cards(problem: Problem) -> list[Gpu]:
    """Cards of the same maker with more memory, which can and are linked as the spec asks, by size.

    Of one size it is one of the generation at hand, else the first of the catalogue.
    """
    from mfc.catalog import gpus

    gpu, link = problem.hardware.gpu, problem.spec.hardware.interconnect.intra
    by_size: dict[int, Gpu] = {}
    for each in sorted(gpus.all_gpus(), key=lambda each: each.generation != gpu.generation):
        able = each.vendor == gpu.vendor and (each.bf16, each.flash_attention) >= (gpu.bf16, gpu.flash_attention)
        linked = not isinstance(link, str) or link in ("auto", each.link.kind) or link.startswith("pcie")
        if able and linked and each.usable_bytes > problem.hardware.memory_bytes and "Laptop" not in each.name:
            by_size.setdefault(each.usable_bytes >> 30, each)
    return [by_size[size] for size in sorted(by_size)]
