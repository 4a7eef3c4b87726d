"""The order in which cases are measured: what tells most per second first, for a sweep may be stopped at any time.

A case tells facts: its framework and method with each of its values, and each value with its class of model. A fact
seen n times before counts 2^-n, so the first cases see something of everything and later ones repeat it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from benchmarks.measure.grid import BASE, Case, dimensions

# Assumptions that only decide the order: seconds to start a framework, and what a current card does.
START = {"trainer": 15.0, "deepspeed": 25.0, "llamafactory": 45.0}
LOAD = 1e-9  # seconds per number of the model: made, quantised or read
FLOPS = 2.5e14  # per second
PER_NUMBER = 8  # floating-point operations per token and number, with checkpointing
TELLING = 3  # facts that a new model tells, and a case without changes: others are compared with it
NEAR = (0.8, 1.25)  # of the card: here predictions of what fits are right or wrong


def sizes(model: str) -> tuple[float, float]:
    """Numbers in a model, and numbers that one token meets."""
    dims = dimensions(model)
    total = float(dims.get("params_computed") or 1e5)
    experts = dims["experts"] and dims["layers"] * dims["experts"] * 3 * dims["hidden"] * dims["moe_intermediate"]
    return total, total - experts * (1 - dims["experts_per_token"] / dims["experts"] if experts else 0)


def cost(made: Case) -> float:
    """Seconds that a case may take, roughly."""
    total, active = sizes(str(made["model"]))
    tokens = made["steps"] * made["micro_batch"] * made["accumulation"] * made["length"]
    return float(START[made["framework"]] + LOAD * total + tokens * active * PER_NUMBER / FLOPS)


def facts(made: Case, share: float | None) -> set[Hashable]:
    """What a case tells. `share`: of the card, as predicted."""
    model, who = str(made["model"]), (made["framework"], made["method"])
    total = sizes(model)[0]
    kind = "moe" if dimensions(model)["experts"] else "small" if total < 2e9 else "middle" if total < 1e10 else "large"
    found: set[Hashable] = {(who, key, made[key]) for key in BASE}
    found |= {(kind, key, made[key]) for key in BASE}
    found |= {(made["method"], model), (made["framework"], model)}
    found |= {("model", model, copy) for copy in range(TELLING)}
    if all(made[key] == BASE[key] for key in BASE if key not in ("framework", "method", "steps")):
        found |= {("plain", about, copy) for about in (who, kind) for copy in range(TELLING)}
    if share is not None and NEAR[0] < share < NEAR[1]:
        found |= {("near", who), ("near", kind)}
    return found


def ordered(cases: Sequence[Case], shares: Mapping[int, float]) -> list[Case]:
    """The cases, best first. `shares`: predicted shares of the card, by the number of the case."""
    told = [facts(made, shares.get(number)) for number, made in enumerate(cases)]
    seconds = [cost(made) for made in cases]
    seen: Counter[Hashable] = Counter()
    # What a case tells can only shrink as others are taken, so a stale value is an upper bound: look again, put back.
    heap = [(-len(told[number]) / seconds[number], number) for number in range(len(cases))]
    heapq.heapify(heap)
    found = []
    while heap:
        _, number = heapq.heappop(heap)
        worth = sum(2.0 ** -seen[fact] for fact in told[number]) / seconds[number]
        if heap and -worth > heap[0][0]:
            heapq.heappush(heap, (-worth, number))
            continue
        seen.update(told[number])
        found.append(cases[number])
    return found
