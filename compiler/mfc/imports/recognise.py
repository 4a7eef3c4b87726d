"""Which framework a file is of: what each target says of its own files, asked one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mfc.errors import SpecError
from mfc.imports.shell import Command
from mfc.imports.source import Files, Found
from mfc.imports.starting import candidates, indices
from mfc.spec.marks import printable
from mfc.target import Target, get, names
from mfc.target import imports as of_target
from mfc.target.importing import Imports, Machines, Run

VISIBLE = {"CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"}


class Known(NamedTuple):
    """A run, and the framework that it is of."""

    target: Target
    imports: Imports
    run: Run
    files: Files
    notes: tuple[str, ...] = ()


def recognise(found: Found, asked: str | None) -> Known:
    """The run of a file. `asked` names the framework. Raises SpecError where none is told, or another one."""
    files = Files(found)
    if asked is not None:
        get(asked)  # or say which there are
    able = {name: imports for name in names() if (imports := of_target(name))}
    if asked is not None and asked not in able:
        raise SpecError(f"{_name(found)}: error: mfc cannot import {asked} yet; it can import {', '.join(able)}")
    if found.config is not None:
        return _config(found, files, able, asked)
    if found.script is not None:
        return _command(found, files, able, asked)
    raise SpecError(f"{_name(found)}: error: is neither a config nor a script")


def _config(found: Found, files: Files, able: dict[str, Imports], asked: str | None) -> Known:
    config = found.config or {}
    inner = {f"{key}.{name}" for key, held in config.items() if isinstance(held, Mapping) for name in held}
    marks = {name: len(imports.marks & (config.keys() | inner)) for name, imports in able.items()}
    likeliest = max(marks, key=lambda name: marks[name])
    name = asked or likeliest
    if not asked and not marks[likeliest]:
        raise SpecError(
            f"{_name(found)}: error: no key of it tells whose config it is; say so with --from ({', '.join(able)})"
        )
    return Known(get(name), able[name], Run(config, files), files)


def _command(found: Found, files: Files, able: dict[str, Imports], asked: str | None) -> Known:
    commands = found.script.commands if found.script else ()
    script = tuple(command.words for command in commands)
    runs = [
        (name, run._replace(script=script), command.line)
        for command in commands
        for name, run in _first(command, files, able)
    ]
    wanted = [one for one in runs if asked in (None, one[0])]
    if not wanted:
        others = f"; it starts {', '.join(dict.fromkeys(name for name, _, _ in runs))}" if runs else ""
        whose = get(asked).TITLE if asked else ", ".join(get(name).TITLE for name in able)
        raise SpecError(f"{_name(found)}: error: no command of it starts a run of {whose}{others}")
    name, run, line = wanted[0]
    notes = tuple(f"line {other} starts another run, which is left out" for _, _, other in wanted[1:] if other != line)
    return Known(get(name), able[name], run, files, notes)


def _first(command: Command, files: Files, able: dict[str, Imports]) -> Iterator[tuple[str, Run]]:
    """The run that a command starts, if it does."""
    for started in candidates(command.words):
        for name, imports in able.items():
            if reason := imports.refuses(started.program, started.arguments):
                raise SpecError(f"line {command.line}: error: {reason}")
            if imports.starts(started.program, started.arguments):
                environment, machines = _in_sight(command, started.machines)
                yield (
                    name,
                    Run(None, files, started.program, started.arguments, environment, machines, started.config),
                )
                return


def _in_sight(command: Command, machines: Machines) -> tuple[dict[str, str], Machines]:
    """The environment, and the devices that it shows: those that a user may choose count, and are not named."""
    environment = dict(command.environment)
    for name in VISIBLE & environment.keys():
        seen = indices(environment[name])
        if name in command.offered:
            del environment[name]
            machines = machines._replace(processes=machines.processes or len(seen) or None)
        elif not machines.devices and machines.processes in (None, len(seen)):
            machines = machines._replace(devices=seen)
    return environment, machines


def _name(found: Found) -> str:
    return printable(found.name)
