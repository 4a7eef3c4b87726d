"""DeepSpeed's JSON read back: as a file beside a framework's config, in it, or one of the framework's own presets.

"auto" is Hugging Face's word: the Trainer fills it in from its arguments and from the model's hidden size (transformers
integrations/deepspeed.py), and so does mfc, whose rules have the same numbers from the same source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mfc.target.importing import Beside, Imports, Part, Place, Run, Settings
from mfc.target.versions import nearest

from .keys import KEYS

AUTO = "auto"
CONTRACTS = ("0.19.8", "0.18.4", "0.16.9")
_STAGE = re.compile(r"z(?:ero)?[-_]?(?:stage)?[-_]?([0-3])", re.IGNORECASE)
_MEASURED = {"flops_profiler.enabled": "what DeepSpeed measures beside"}
# Keys of which the Trainer, not the JSON, has the last word, and that say nothing more.
_IDLE = {
    **_MEASURED,
    "steps_per_print": "how often DeepSpeed itself logs",
    "wall_clock_breakdown": "how DeepSpeed itself logs",
    "zero_optimization.round_robin_gradients": "which process copies which gradient to the host",
    "train_batch_size": "it follows from micro-batch, accumulation and GPUs",
}


class Json(NamedTuple):
    """What a framework's `deepspeed` argument says: a part to read, or what its name alone tells."""

    part: Part | None
    told: Mapping[str, tuple[Any, ...]]
    notes: tuple[str, ...] = ()


def json_of(value: Any, beside: Beside, version: str) -> Json:
    """Read a `deepspeed` argument: a path, JSON as text or a mapping. `version` is DeepSpeed's."""
    if isinstance(value, Mapping):
        return Json(part("deepspeed", value, version), {})
    path = str(value)
    found = beside.mapping(path)
    if found is not None:
        return Json(part(path, found, version), {})
    told = by_name(path)
    if told:
        said = ", ".join(f"{field} {value}" for field, (value,) in told.items())
        return Json(None, told, (f"{path} is not there: {said} is what its name says, and its numbers are mfc's",))
    return Json(None, {}, (f"{path} is not there, and its name tells no stage: strategy.sharding is left open",))


def by_name(name: str) -> dict[str, tuple[Any, ...]]:
    """What the name of a file or of a preset tells: ds_z3_offload_config.json, zero2."""
    last = name.rpartition("/")[2]
    stage = _STAGE.search(last)
    if stage is None:
        return {}
    where = "cpu" if re.search(r"(?<!no)(?<!no[-_])(?<!without[-_])offload", last) else "none"
    return {
        "sharding": ({"0": "ddp"}.get(stage[1], f"zero{stage[1]}"),),
        "offload_optimizer": (where,),
        "offload_parameters": (where if stage[1] == "3" else "none",),
    }


def part(name: str, data: Mapping[str, Any], version: str, idle: Mapping[str, str] = _IDLE) -> Part:
    """The part of a JSON that a Trainer is given. What offloads nothing is left out, as DeepSpeed's default."""
    made = {key: value for key, value in data.items() if not (isinstance(value, Mapping) and not value)}
    zero = made.get("zero_optimization")
    if isinstance(zero, Mapping):
        made["zero_optimization"] = {key: value for key, value in zero.items() if not _offloads_nothing(key, value)}
    return Part(
        name,
        KEYS,
        made,
        f"deepspeed-{nearest(version, CONTRACTS)}",
        defaults={
            "zero_optimization.stage": 0,
            "gradient_clipping": None,  # the Trainer's argument
            "zero_optimization.offload_optimizer.device": "none",
            "zero_optimization.offload_param.device": "none",
        },
        idle=idle,
        auto=AUTO,
    )


def _offloads_nothing(key: str, value: Any) -> bool:
    return key in ("offload_optimizer", "offload_param") and (
        not isinstance(value, Mapping) or value.get("device", "none") == "none"
    )


_MARKS = frozenset({"zero_optimization", "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_clipping"})


def starts(_program: str, _arguments: Sequence[str]) -> bool:
    """The programs that take a JSON are those of other frameworks, or the user's own."""
    return False


def settings(run: Run, _: Place) -> Settings:
    """A JSON alone: what it says of a run, the rest being its script's."""
    read = part("the config", run.config or {}, CONTRACTS[0], _MEASURED)
    return Settings(CONTRACTS[0], (read,), notes=("the JSON says a part of a run: the rest is its script's",))


IMPORTS = Imports(starts, _MARKS, settings, whole=False)
