"""The hardware of an imported run: what the run says of it, and what the user adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mfc.errors import SpecError
from mfc.spec import short, yaml12
from mfc.spec.marks import Mark, Source
from mfc.spec.quantities import gpus
from mfc.target.importing import Machines


class Settled(NamedTuple):
    """What the spec says of the hardware; whether that is all it needs; the GPUs of all nodes; notes for the user."""

    spec: Mapping[str, Any]
    complete: bool
    world: int
    notes: tuple[str, ...]


def settle(run: Machines, asked: str | None) -> Settled:
    """Lay what the user says (`--hardware`, as a spec has it) over what the run says."""
    said = _read(asked) if asked is not None else {}
    count, counted = _count(said, asked), run.processes and run.processes + run.serving
    made: dict[str, Any] = {**said}
    notes = []
    if counted and count is None:
        made["count"] = counted
    elif counted and count != counted:
        notes.append(
            f"the run takes {counted} GPUs of each node; --hardware has {count} GPUs, and so has the spec: the "
            "batch is that of the spec's GPUs"
        )
    if run.devices and "devices" not in made and made.get("count", len(run.devices)) == len(run.devices):
        made["devices"] = [*run.devices]
    if run.nodes and run.nodes > 1 and "nodes" not in made:
        made["nodes"] = run.nodes
    if "gpu" not in made:
        notes.append("the file does not tell the GPU: complete hardware, or import with --hardware '8x A100-80G'")
    if not counted and count is None and "devices" not in made:
        notes.append("the file does not tell how many GPUs it runs on: batch_size is that of one")
    apart = made.get("nodes", 1) > 1 and "inter" not in made.get("interconnect", {})
    if apart:
        notes.append("the file does not tell the bandwidth between nodes: add hardware.interconnect: {inter: 100Gbps}")
    world = int(made.get("count") or len(made.get("devices", ())) or 1) * int(made.get("nodes", 1))
    return Settled(made, "gpu" in made and not apart, world, tuple(notes))


def _read(text: str) -> dict[str, Any]:
    """--hardware: what a spec has behind `hardware:`."""
    source = Source("--hardware")
    node = yaml12.parse(text, source)
    if node is None:
        raise SpecError("--hardware: error: is empty; say for example --hardware '4x RTX 4090'")
    mark = Mark(source)
    tree = short.expand(yaml12.Node({"hardware": node}, mark)).plain()["hardware"]
    if not isinstance(tree, dict):
        raise SpecError("--hardware: error: say a count and a GPU, such as '4x RTX 4090', or a mapping of the spec's")
    return tree


def _count(said: Mapping[str, Any], asked: str | None) -> int | None:
    """The GPUs of a node that the user names, if any."""
    if asked is None or asked.lstrip().startswith("{"):
        return said.get("count") or len(said.get("devices", ())) or None
    try:
        short_form = gpus(asked)
    except ValueError:
        return None
    return short_form.count if short_form.name != str(asked).strip() else None
