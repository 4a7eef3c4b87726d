"""What stops a run here, and what only slows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mfc import api
from mfc.machine import Card, Machine, doctor
from mfc.machine.seen import Driver

GIB = 1 << 30
FREE = Card(0, "NVIDIA GeForce RTX 4090", 24564 << 20, 0, (1,))
GOOD = Machine(
    cards=(FREE, FREE._replace(number=1, peers=(0,))),
    driver=Driver("550.54.15", (12, 4)),
    host_memory_bytes=256 * GIB,
    cpu_cores=32,
    shared_memory_bytes=64 * GIB,
    environment=Path("/venv"),
    packages={
        "torch": "2.9.1",
        "nvidia-cuda-runtime-cu12": "12.8.90",
        "llamafactory": "0.9.5",
        "deepspeed": "0.18.4",
        "liger-kernel": "0.6.2",
    },
    programs=frozenset({"g++", "ninja", "nvcc"}),
)
ANY: dict[str, tuple[dict[str, Any], bool, str]] = {
    "no card": ({"cards": (), "notes": ("no driver",)}, True, "no driver"),
    "a build without CUDA": ({"packages": {"torch": "2.9.1+cpu"}}, True, "torch 2.9.1+cpu is built without CUDA"),
    "an old driver": (
        {"packages": {"torch": "2.13.0", "nvidia-cuda-runtime": "13.0.96"}},
        True,
        "torch 2.13.0 brings CUDA 13, and driver 550.54.15 runs CUDA up to 12.4",
    ),
    "another environment": ({"packages": {}}, False, "no torch in /venv"),
    "a small container": ({"shared_memory_bytes": 64 << 20}, True, "/dev/shm has 64 MiB"),
    "no peers": ({"cards": (FREE._replace(peers=()), FREE)}, False, "no card reaches another's memory"),
    "in use": (
        {"cards": (FREE._replace(used_bytes=5 * GIB),)},
        False,
        "RTX 4090: 5.0 of 24.0 GiB",
    ),
}
SPEC: dict[str, Any] = {
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "hardware": {"gpu": "RTX 4090", "count": 2, "host_memory": "256GiB"},
    "data": "rows.jsonl",
    "train": {"method": "full"},
    "strategy": {"sharding": "zero3", "offload": {"optimizer": "cpu"}},
}
PLAN: dict[str, tuple[dict[str, Any], str]] = {
    "too few": ({"cards": (FREE,)}, "the spec has 2 GPUs a node, and 1 are here"),
    "taken": (
        {"cards": (FREE, FREE._replace(number=1, used_bytes=20 * GIB))},
        "RTX 4090, has 4.0 GiB free",
    ),
    "not installed": ({"packages": {"torch": "2.9.1"}}, "not installed in /venv: llamafactory, deepspeed"),
    "no compiler": ({"programs": frozenset({"ninja", "nvcc"})}, "a C++ compiler is not found"),
    "no toolkit": ({"programs": frozenset({"ninja", "g++"})}, "nvcc of the CUDA toolkit is not found"),
    "a small host": ({"host_memory_bytes": 32 * GIB}, "of host memory, and 32 GiB are here"),
}


@pytest.mark.parametrize("case", ANY)
def test_of_any_run(case: str) -> None:
    changed, stops, said = ANY[case]
    found = list(doctor.of_any(GOOD._replace(**changed)))
    assert [one.stops for one in found if said in one.text] == [stops], found


def test_a_good_machine_has_nothing() -> None:
    assert not list(doctor.of_any(GOOD))
    [plan] = api.plan_each(api.load(SPEC), ["llamafactory"])
    assert not isinstance(plan, Exception)
    assert not list(doctor.of_plan(GOOD, plan, "llamafactory", 10_000 * GIB))


@pytest.mark.parametrize("case", PLAN)
def test_of_one_plan(case: str) -> None:
    changed, said = PLAN[case]
    [plan] = api.plan_each(api.load(SPEC), ["llamafactory"])
    assert not isinstance(plan, Exception)
    found = list(doctor.of_plan(GOOD._replace(**changed), plan, "llamafactory", None))
    assert [one for one in found if said in one.text and one.stops and one.cure], found


def test_checkpoints_need_room() -> None:
    [plan] = api.plan_each(api.load(SPEC), ["llamafactory"])
    assert not isinstance(plan, Exception)
    # two kept, one being written and the trained model: 7.62e9 numbers of 16 bytes each
    assert doctor.checkpoint_bytes(plan) / GIB == pytest.approx(4 * 7.62e9 * 16 / GIB, rel=0.01)
    [found] = doctor.of_plan(GOOD, plan, "llamafactory", 100 * GIB)
    assert "100 GiB are free where they go" in found.text
