"""Join a spec with the facts about its hardware and its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mfc.beside import settled
from mfc.catalog.gpu import Gpu, Link
from mfc.errors import Refused, SpecError
from mfc.fields import SECTIONS, SPEC_PATHS
from mfc.problem import Hardware, Model, Problem
from mfc.strategy import Quantization

if TYPE_CHECKING:
    from mfc.catalog.models import Entry
    from mfc.spec.load import LoadedSpec
    from mfc.spec.models import HardwareSpec, ModelSpec, Spec

T = TypeVar("T")

ANY = "any"  # the model of a spec that asks which ones can be trained
_LINKS = {"pcie3": 12.0e9, "pcie4": 24.0e9, "pcie5": 48.0e9}  # x16, per direction, as transfers reach


def resolve(loaded: LoadedSpec, *, hub_cache: bool) -> Problem:
    """The problem that a spec states.

    With `hub_cache`, a model that the catalogue lacks may come from the local Hugging Face cache. Raises SpecError,
    with the line of the spec, for unknown names and unreadable configs.
    """
    spec, beside = settled(loaded)
    pins: dict[str, Any] = {}
    ranges: dict[str, tuple[int, int]] = {}
    for name, path in SPEC_PATHS.items():
        value = _at(spec, path)
        if hasattr(value, "min"):
            ranges[name] = (value.min, value.max)
        elif value != "auto":
            pins[name] = value
    positions = loaded.positions
    origin = {name: positions[path] for name, path in SPEC_PATHS.items() if name in pins and path in positions}
    for name, path in SECTIONS.items():
        if any(each.startswith(f"{path}.") for each in positions):
            origin[name] = str(loaded.where(path))
    named = next((path for path in ("model.config", "model.like") if _at(spec, path)), "model.id")
    found = _blaming(loaded, named, lambda: model(loaded.spec.model, loaded.folder("model.config"), hub_cache))
    return Problem(
        spec=spec,
        hardware=_machines(loaded),
        model=found._replace(name=spec.model.id),
        pins=pins,
        ranges=ranges,
        origin=origin,
        beside=beside,
    )


def _machines(loaded: LoadedSpec) -> Hardware:
    found = _blaming(loaded, "hardware.gpu.name", lambda: hardware(loaded.spec.hardware))
    if found.memory_bytes <= 0:
        raise loaded.error("hardware.gpu_reserved", f"gpu_reserved leaves nothing of {found.gpu.name}'s memory")
    return found


def hardware(spec: HardwareSpec) -> Hardware:
    """The machines, from the catalogue and what the spec says beside it."""
    gpu = _gpu(spec)
    intra = gpu.link
    if isinstance(spec.interconnect.intra, float):
        intra = Link("given", spec.interconnect.intra)
    elif spec.interconnect.intra not in ("auto", gpu.link.kind):
        intra = _named_link(spec.interconnect.intra, gpu)
    inter = spec.interconnect.inter
    return Hardware(
        gpu=gpu,
        gpus_per_node=spec.count,
        nodes=spec.nodes,
        memory_bytes=(gpu.usable_bytes if spec.gpu.memory == "auto" else gpu.memory_bytes) - spec.gpu_reserved,
        host_memory_bytes=None if spec.host_memory == "auto" else spec.host_memory,
        intra=intra,
        inter=None if spec.nodes == 1 or inter == "auto" else Link("network", inter),
        nvme=spec.nvme,
        cpu_cores=None if spec.cpu_cores == "auto" else spec.cpu_cores,
        devices=spec.devices,
    )


def _gpu(spec: HardwareSpec) -> Gpu:
    from mfc.catalog import gpus

    given = spec.gpu
    gpu = gpus.find(given.name)
    changes: dict[str, Any] = {}
    if given.memory != "auto":
        changes["memory_bytes"] = given.memory
    for name in ("capability", "bf16", "fp16", "fp8", "flash_attention", "memory_bandwidth"):
        if (value := getattr(given, name)) != "auto":
            changes[name] = value
    if given.tflops != "auto":
        best = "bf16" if changes.get("bf16", gpu.bf16) else "fp16"
        changes["tflops"] = {**gpu.tflops, best: given.tflops}
    return gpu._replace(**changes) if changes else gpu


def _named_link(kind: str, gpu: Gpu) -> Link:
    if kind == "pcie":
        return gpu.host_link
    if kind in _LINKS:
        return Link(kind, _LINKS[kind])
    raise Refused(
        "hardware.interconnect.intra",
        f"{gpu.name} has no {kind} in the catalogue (it has {gpu.link.kind}): give its bandwidth per GPU and "
        "direction, such as interconnect: {intra: 300GB/s}",
    )


def model(spec: ModelSpec, folder: Path, hub_cache: bool) -> Model:
    """The model, from the config that the spec names, the catalogue, or (when allowed) the local Hugging Face cache."""
    from mfc.catalog import hf_config, modelscope
    from mfc.catalog.parameters import count

    if spec.id == ANY:
        text = f"model: {ANY} asks which models can be trained"
        raise Refused("model.id", text, "mfc size answers that; name one for all else")
    assumed: tuple[str, ...] = ()
    instruct = None
    quantized: Quantization | None = None
    if spec.config is not None:
        read = hf_config.from_file(folder / spec.config)
        architecture, assumed, quantized = read.architecture, read.assumed, read.quantization
    else:
        try:
            known = _catalogued(spec)
            architecture, instruct, quantized = known.architecture, known.instruct, known.quantization
        except SpecError:
            if spec.like:
                raise
            cached = hf_config.from_cache(spec.id)
            if cached is None:
                raise
            if not hub_cache:
                raise SpecError(
                    f"model {spec.id!r} is not in the catalogue. It is in the local Hugging Face cache, but what is "
                    "compiled must not depend on this machine: copy its config.json beside the spec and write "
                    f"model: {{id: {spec.id}, config: config.json}}"
                ) from None
            architecture, assumed, quantized = cached.architecture, cached.assumed, cached.quantization
    stored, why = _stored(spec, quantized)
    like = spec.like or modelscope.ours(spec.id)
    return Model(spec.id, architecture, count(architecture).total, instruct, stored, (*assumed, *why), like)


def _catalogued(spec: ModelSpec) -> Entry:
    """The model of the catalogue that the spec names, or that its own is like. Raises SpecError."""
    from mfc.catalog import models

    if not spec.like:
        return models.find(spec.id)
    try:
        known = models.find(spec.like)
    except SpecError:
        near = ", ".join(models.nearest(spec.like))
        text = f"model.like names a model of the catalogue, and {spec.like!r} is not in it"
        raise Refused("model.like", text, f"nearest: {near}" if near else "mfc models lists them") from None
    try:
        own = models.find(spec.id)
    except SpecError:
        return known
    if own.architecture != known.architecture:
        raise Refused("model.like", f"{own.id} is in the catalogue itself, and is not like {known.id}: leave like out")
    return known


def _stored(spec: ModelSpec, known: Quantization | None) -> tuple[Quantization | None, tuple[str, ...]]:
    """How the checkpoint is stored, and what was assumed of that: a copy's name may say it."""
    from mfc.catalog import stored

    if spec.quantized == "none":
        return None, ()
    try:
        said = stored.ending(spec.id) if spec.like else None
    except ValueError as vague:
        if spec.quantized == "auto":
            text = f"{spec.id} ends in {vague}, which does not say how its weights are stored"
            raise Refused("model.id", text, "set model.quantized, none for 16 bits") from None
        said = None
    if spec.quantized == "auto":
        if said is None:
            return known, ()
        how = f"as {said.stored.kind} with {said.stored.bits} bits" if said.stored else "in 16 bits"
        return said.stored, (f"taken to be stored {how}, for its name ends in {said.text}",)
    if said and said.stored and said.stored.kind == spec.quantized:
        return said.stored, ()
    if known is not None and known.kind == spec.quantized:
        return known, ()
    bits = {"fp8": 8, "mxfp4": 4}.get(spec.quantized, 4)
    return Quantization(bits=bits, kind=spec.quantized, double=False, pre=True), ()


def _at(spec: Spec, path: str) -> Any:
    value: Any = spec
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _blaming(loaded: LoadedSpec, field: str, make: Callable[[], T]) -> T:
    """Run `make`; an error in it points at the place in the spec that sets `field`, unless it names another."""
    try:
        return make()
    except Refused as error:
        raise loaded.error(error.path, error.text, hint=error.hint) from None
    except SpecError as error:
        raise loaded.error(field, str(error)) from None
