"""`mfc doctor`: what this machine has, and what would stop a run on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from mfc import api
from mfc.cli import options
from mfc.machine import Machine, doctor, look
from mfc.rules.packages import EXAMPLES
from mfc.target import get, names

GIB = 1 << 30


@click.command()
@click.argument("spec", required=False)
@options.target
@options.as_format
def command(spec: str | None, target: str | None, form: str) -> int:
    """Say what this machine has, and what would stop a run here: of SPEC when one is given.

    Exit code 3 when something would stop it.
    """
    machine = look()
    found = list(doctor.of_any(machine))
    if spec is not None and machine.cards:
        loaded = api.load(spec)
        for name in [target] if target else api.planned_for(loaded):
            plan = options.one(api.plan_each(loaded, [name]))
            free = _free(loaded.folder("run.output_dir") / loaded.spec.run.output_dir)
            found += doctor.of_plan(machine, plan, get(name).DISTRIBUTION, free)
    found = list(dict.fromkeys(found))
    if form == "json":
        print(
            options.dump(
                {"schema_version": 1, "machine": _document(machine), "found": [one._asdict() for one in found]}
            )
        )
    else:
        print("\n".join([*_told(machine), *(line for one in found for line in _line(one))]))
    return 3 if any(one.stops for one in found) else 0


def _free(folder: Path) -> int | None:
    """Free bytes where a folder is or would be."""
    there = next((path for path in (folder, *folder.absolute().parents) if os.path.isdir(path)), None)
    return None if there is None else shutil.disk_usage(there).free


def _told(machine: Machine) -> Iterator[str]:
    if machine.driver:
        cuda = ".".join(map(str, machine.driver.cuda)) if machine.driver.cuda else "unknown"
        yield f"driver    {machine.driver.version}, CUDA up to {cuda}"
    for card in machine.cards:
        peers = "" if card.peers is None else f", reaches {', '.join(map(str, card.peers)) or 'no other'}"
        used = f"{card.used_bytes / GIB:.1f} of {card.memory_bytes / GIB:.1f} GiB in use"
        yield f"card {card.number}    {card.name}: {used}{peers}{', NVLink' if card.linked else ''}"
    memory = f"{machine.host_memory_bytes / GIB:.0f} GiB" if machine.host_memory_bytes else "unknown memory"
    yield f"host      {memory}, {machine.cpu_cores} cores, NVMe {machine.nvme or 'none to write to'}"
    frameworks = dict.fromkeys(get(name).DISTRIBUTION for name in names())
    shown = [name for name in ("torch", "transformers", *frameworks, *EXAMPLES, "vllm") if name in machine.packages]
    told = ", ".join(f"{name} {machine.packages[name]}" for name in dict.fromkeys(shown))
    yield f"packages  {told or 'none that trains'} ({machine.environment})"
    yield from (f"note      {note}" for note in machine.notes)


def _line(one: doctor.Finding) -> Iterator[str]:
    yield f"{'STOPS' if one.stops else 'see  '}     {one.text}"
    if one.cure:
        yield f"          {one.cure}"


def _document(machine: Machine) -> dict[str, object]:
    return {
        **machine._asdict(),
        "cards": [card._asdict() for card in machine.cards],
        "driver": machine.driver._asdict() if machine.driver else None,
        "nvme": str(machine.nvme) if machine.nvme else None,
        "environment": str(machine.environment),
        "packages": dict(sorted(machine.packages.items())),
        "programs": sorted(machine.programs),
    }
