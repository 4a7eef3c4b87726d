"""From what a run says of the fields of a plan to a spec that pins all of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any

from mfc.catalog import copies
from mfc.fields import BY_NAME, place
from mfc.spec.models import Spec
from mfc.target.importing import Machines, Settings
from mfc.target.outputs import place as put

_GROUPS = ("all-linear", "attention", "mlp")
# Fields that a spec says in its own form.
_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "timeout_seconds": lambda seconds: f"{int(seconds)}s",
    "rollout_share.sleep_level": bool,
    "lora_targets": lambda names: names.split(",") if "," in names or names not in _GROUPS else names,
    "warmup": lambda part: float(part) if 0 <= part < 1 else int(part),
}
# Parts of what is decided as a whole, which the spec says one by one.
_PARTS = {
    "rollout_share.utilization": "train.rollout.gpu_memory_utilization",
    "rollout_share.tensor_parallel": "train.rollout.tensor_parallel",
    "rollout_share.sleep_level": "train.rollout.sleep",
}
# Fields whose place in the spec holds several of them, or that are not said there as they are.
_APART = ("adam_beta1", "adam_beta2", "template", "epochs", "max_steps", "micro_batch", "gradient_accumulation")
# Fields of which nothing is a value, and not mfc's own: no part of a model that takes images is frozen.
_EMPTY = ("freeze_parts",)
_HARDWARE = ("hardware.count", "hardware.nodes", "hardware.devices")


def pins(values: Mapping[str, Any], written: Collection[str], target: str) -> dict[str, Any]:
    """Spec paths with what stands there, for every field that applies and that a spec can say.

    Whether some apply only the model could tell; where it is not known, those that the file has `written` do.
    """
    made: dict[str, Any] = {}
    if values.get("attention") == "sdpa" and "attention" not in written and _has_sinks(values):
        values = {**values, "attention": "eager"}  # transformers takes the model's own where SDPA has no code for it
    for field, value in values.items():
        path = place(field) or _PARTS.get(field, "")
        nothing = value is None or (value == () and field not in _EMPTY)
        if path and field not in (*_APART, *_HARDWARE) and not nothing and _applies(field, values, written):
            try:
                made[path] = _FORMS[field](value) if field in _FORMS else _plain(value)
            except (ArithmeticError, AttributeError, TypeError, ValueError):  # of a kind that no spec holds
                continue
    if {"adam_beta1", "adam_beta2"} <= values.keys() and _applies("adam_beta1", values, written):
        made["train.optim.betas"] = [values["adam_beta1"], values["adam_beta2"]]
    if values.get("max_steps") is not None:
        made["train.max_steps"] = values["max_steps"]
    elif values.get("epochs") is not None:
        made["train.epochs"] = values["epochs"]
    if made.get("train.rollout.mode") == "native":
        del made["train.rollout.mode"]
        made["train.rollout.engine"] = "native"
    if values.get("template"):
        made[f"targets.{target}.template"] = values["template"]
    if values.get("offload_optimizer") != "nvme" and values.get("offload_parameters") != "nvme":
        made.pop("hardware.nvme", None)
    return made


def _has_sinks(values: Mapping[str, Any]) -> bool:
    try:
        architecture = _Given(values)["architecture"]
    except KeyError:
        return False
    return any(block.attention.sinks for _, block in architecture.blocks)


def machines(values: Mapping[str, Any], settings: Settings) -> Machines:
    """Processes, nodes and devices: as the launcher has them, else the environment."""
    told = settings.machines
    devices = told.devices or tuple(values.get("hardware.devices") or ())
    count = told.processes or values.get("hardware.count") or len(devices) or None
    return Machines(count, told.nodes or values.get("hardware.nodes"), devices, told.serving)


def batch(values: Mapping[str, Any], world: int, usual: Callable[[int, int], int] | None) -> dict[str, Any]:
    """Micro-batch and global batch: samples, or rows where samples are packed."""
    micro, accumulation = values.get("micro_batch"), values.get("gradient_accumulation")
    if not isinstance(micro, int) or micro < 1:
        return {}
    made: dict[str, Any] = {"strategy.micro_batch": micro}
    if accumulation is None and usual is not None:
        accumulation = usual(micro, world)
    if isinstance(accumulation, int) and accumulation > 0:
        ranks = max(world // (values.get("sequence_parallel") or 1), 1)
        made["train.batch_size"] = micro * accumulation * ranks
        if values.get("packing"):
            made["train.batch_unit"] = "row"
    return made


def tree(found: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Spec paths as a spec, its sections and fields in their order."""
    made: dict[str, Any] = {"targets": {target: {}}}
    for path, value in found.items():
        put(made, path, value)
    ordered = _in_order(made, Spec)
    if list(ordered.get("model", ())) == ["id"]:
        ordered["model"] = ordered["model"]["id"]
    return ordered


def _in_order(found: Mapping[str, Any], section: Any) -> dict[str, Any]:
    """A mapping with the keys of a section of the language in the order in which it has them."""
    fields = section.model_fields
    places = {name: number for number, name in enumerate(fields)}
    made = {}
    for key in sorted(found, key=lambda key: places.get(key, len(places))):
        inner = fields[key].annotation if key in fields else None
        nests = isinstance(inner, type) and hasattr(inner, "model_fields") and isinstance(found[key], Mapping)
        made[key] = _in_order(found[key], inner) if nests else found[key]
    return made


def _plain(value: Any) -> Any:
    return [*value] if isinstance(value, tuple) else value


class _Given(dict[str, Any]):
    """What is known, for asking whether a field applies; the model's architecture where the catalogue has it."""

    def __missing__(self, name: str) -> Any:
        if name == "spec":
            data, run = SimpleNamespace(eval=self.get("data.eval")), SimpleNamespace(samples=self.get("samples", ()))
            return SimpleNamespace(data=data, run=run)
        model = self.get("model.like", self.get("model.id")) if name == "architecture" else None
        if isinstance(model, str) and (entry := copies.find(model)):
            return entry.architecture
        raise KeyError(name)


def _applies(field: str, values: Mapping[str, Any], written: Collection[str]) -> bool:
    """Whether there is something to decide about a field."""
    head = field.partition(".")[0]
    if head == "quantization":
        return values.get("method") == "qlora"
    if head not in BY_NAME:
        return field not in _FOR or _FOR[field](values)
    try:
        return BY_NAME[head].applies.test(_Given(values))
    except (AttributeError, LookupError, TypeError):
        return field in written


# What only the spec says, and where it has a say.
_FOR: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "model.adapter_mode": lambda values: bool(values.get("model.adapter")),
    "data.eval": lambda values: values.get("data.eval") not in (None, "none", 0.0),
    "train.preference.reference": lambda values: values.get("task") in ("dpo", "kto"),
}
