"""Plans are the same to the last bit on every Python: its `sum` adds floats in another way since 3.12."""

import builtins
import contextlib
import math
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from mfc import api
from mfc.errors import CannotExpress

SPECS: list[dict[str, Any]] = [
    {"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "8x H100"},
    {"model": "Qwen/Qwen3-30B-A3B", "hardware": "8x A100-80G"},
    {"model": "Qwen/Qwen2.5-VL-7B-Instruct", "hardware": "4x RTX 4090"},
    {"model": "meta-llama/Llama-3.1-70B-Instruct", "hardware": {"gpu": "A100-80G", "count": 8, "host_memory": "1TB"}},
    {
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "hardware": "8x H100",
        "train": {"task": "grpo", "method": "lora", "rollout": {"rewards": ["accuracy"]}},
    },
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["model"])
@pytest.mark.parametrize("target", ["llamafactory", "ms-swift", "trl"])
def test_no_sum_depends_on_how_it_is_added(spec: dict[str, Any], target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as Python 3.11 adds, or with what is lost made good, as 3.12 does: the same."""
    plain = builtins.sum
    found: set[str] = set()

    def checked(values: Iterable[Any], start: Any = 0) -> Any:
        kept = list(values)
        if any(isinstance(value, float) for value in [start, *kept]):
            one_by_one = start
            for value in kept:
                one_by_one = one_by_one + value
            if one_by_one != math.fsum([start, *kept]):
                caller = sys._getframe(1)
                found.add(f"{caller.f_code.co_filename}:{caller.f_lineno}")
        return plain(kept, start)

    monkeypatch.setattr(builtins, "sum", checked)
    with contextlib.suppress(CannotExpress):  # rules were asked and sums made until the target said no
        assert api.plan(spec, target).strategy
    assert not found, "floats that math.fsum has to add"
