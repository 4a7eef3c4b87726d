"""When nothing fits: the smallest changes to the spec that would, one at a time, then in pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

from mfc.fields import RELAXED, SPEC_PATHS
from mfc.planner.plan import Relaxation
from mfc.planner.search import Candidate
from mfc.problem import Problem

_FREE_OF_MONEY = ("data.", "train.", "strategy.")

Edit = Mapping[str, Any]  # dotted spec path -> value
Attempt = Callable[[Edit], Candidate | None]  # the best candidate of the edited spec; None: the edit makes no sense


def edits(problem: Problem, length: int) -> Iterator[Edit]:
    """Single edits worth trying, the least intrusive first. `length` is that of the strategy nearest to fitting."""
    spec, hardware = problem.spec, problem.hardware
    for name in RELAXED:
        if name in problem.pins:
            yield {SPEC_PATHS[name]: "auto"}
    asked = spec.train.rollout
    for name in ("gpu_memory_utilization", "sleep", "tensor_parallel", "mode", "gpus"):
        if getattr(asked, name) != "auto":
            yield {f"train.rollout.{name}": "auto"}
    if asked.mode == "colocate" and hardware.world_size > 1:
        yield {"train.rollout.mode": "server"}
    for part in (3 * length // 4, length // 2, length // 4, length // 8):
        if part >= 256:
            yield {"data.max_length": part // 64 * 64}
    if spec.train.method == "full":
        if problem.pins.get("precision") != "pure_bf16" and hardware.gpu.bf16:
            yield {"train.precision": "pure_bf16"}
        yield {"train.method": "lora"}
    if spec.train.method in ("full", "lora"):
        yield {"train.method": "qlora"}
    for size in (64, 128, 256, 512, 1024, 2048):
        if hardware.host_memory_bytes is None or size * 2**30 > hardware.host_memory_bytes:
            yield {"hardware.host_memory": f"{size}GiB"}
    for factor in (2, 4, 8):
        if hardware.gpus_per_node * factor <= 8:
            yield {"hardware.count": hardware.gpus_per_node * factor}


def relaxations(problem: Problem, length: int, attempt: Attempt, limit: int = 5) -> tuple[Relaxation, ...]:
    """Edits after which a plan fits. `attempt` plans the edited spec and gives its best candidate, or None.

    Of edits to one field only the first that fits is kept. When no single edit but other hardware is enough, a smaller
    model of the same kind is looked for. When none is enough, all pinned performance knobs are freed at once, for that
    changes no result, and pairs are tried, also with all of these freed.
    """
    singles = list(edits(problem, length))
    found: list[Relaxation] = []
    done: set[str] = set()
    for edit in singles:
        (path,) = edit
        if path not in done and (relaxation := _try(edit, attempt)):
            found.append(relaxation)
            done.add(path)
        if len(found) == limit:
            return tuple(found)
    if not any(path.startswith(_FREE_OF_MONEY) for one in found for path in one.set):
        found += _smaller_model(problem, attempt)
    if found:
        return tuple(found)
    together = {SPEC_PATHS[name]: "auto" for name in RELAXED if name in problem.pins}
    if len(together) > 1 and (relaxation := _try(together, attempt)):
        found.append(relaxation)
    for first, second in combinations([together, *singles] if len(together) > 1 else singles, 2):
        if first.keys().isdisjoint(second) and not done & {*first, *second}:
            if relaxation := _try({**first, **second}, attempt):
                found.append(relaxation)
                done.update(second)
            if len(found) == limit:
                break
    return tuple(found)


def _smaller_model(problem: Problem, attempt: Attempt) -> list[Relaxation]:
    """The largest model that differs from the one at hand by its size alone and fits, if there is one."""
    from mfc.catalog import models

    if problem.spec.model.config is not None:
        return []
    tried = (_try({"model": name}, attempt) for name in models.smaller(problem.model.name))
    return [first] if (first := next(filter(None, tried), None)) else []


def _try(edit: Edit, attempt: Attempt) -> Relaxation | None:
    best = attempt(edit)
    if best is None or not best.fits:
        return None
    return Relaxation(dict(edit), int(best.upper_bytes), best.seconds_per_step)
