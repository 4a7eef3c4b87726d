"""What a target says of its framework's own files so that `mfc import` can read them: the other way of `lower`.

A target that can be imported has a module `imports`, whose `IMPORTS` is an `Imports`. It tells the framework's files
and commands from others, and turns one run into `Settings`: parts, each a table of keys (those that `lower` writes by)
and the data to read by it. The module is loaded by `mfc import` alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from mfc.target.keys import Key
from mfc.target.paths import spec_path


class Beside(Protocol):
    """Files that a config names: written by the script itself, or lying where the run starts."""

    def text(self, path: str) -> str | None:
        """The text of a file; None where there is none that can be read."""

    def mapping(self, path: str) -> dict[str, Any] | None:
        """What a YAML, JSON or Python file says; None where there is none. Raises SpecError for a malformed one."""


class Place(NamedTuple):
    """Where the run starts, and where its spec is to lie."""

    out_to_spec: str
    folder: str  # where the run starts, absolute

    def spec_path(self, path: str) -> str:
        """A data file of the run as the spec has it."""
        return spec_path(path, self.out_to_spec, self.folder).removeprefix("./")


class Machines(NamedTuple):
    """What a run says of its hardware; None: nothing."""

    processes: int | None = None  # on each node
    nodes: int | None = None
    devices: tuple[int, ...] = ()
    serving: int = 0  # GPUs beside those of the processes, on which a server generates


class Run(NamedTuple):
    """One run as it was found: the mapping of a config file, or a program with its arguments."""

    config: Mapping[str, Any] | None  # None: a command
    beside: Beside
    program: str = ""  # as a command names it, or the module behind -m, its launcher taken off
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    machines: Machines = Machines()  # as its launcher was told
    launcher_config: str = ""  # the file that a launcher was given
    script: tuple[tuple[str, ...], ...] = ()  # all commands of the script that it is one of

    @property
    def stops_at_checkpoints(self) -> bool:
        """Whether the script is one of mfc's that does not start where there are checkpoints already."""
        return any(words[0] == "echo" and "holds checkpoints already" in " ".join(words) for words in self.script)


class Part(NamedTuple):
    """One table of keys and what is read by it.

    `data` nests where the keys have dots. `defaults` are what the framework does where a key is left out, over those of
    the contract, None for nothing. `taken` are keys that the target itself has read, with the path of the spec that
    says them; `idle` says of keys why they tell nothing. Keys that no row carries go to `extra` where `own` says so.
    """

    name: str  # the file, or what else the report calls it
    keys: tuple[Key, ...]
    data: Mapping[str, Any]
    contract: str = ""
    defaults: Mapping[str, Any] = {}
    taken: Mapping[str, str] = {}
    idle: Mapping[str, str] = {}
    own: bool = False
    auto: str = ""  # the word that stands for what other parts say


class Settings(NamedTuple):
    """One run in native words.

    `told` are plan fields (or paths of the spec) with the values that they can have, which no key carries alone; `spec`
    are paths of the spec with what stands there: the data sets above all. `accumulation` is what the framework takes by
    itself where nothing says, of the micro-batch and the GPUs of all nodes.
    """

    version: str
    parts: tuple[Part, ...]
    told: Mapping[str, tuple[Any, ...]] = {}
    spec: Mapping[str, Any] = {}
    machines: Machines = Machines()
    notes: tuple[str, ...] = ()
    accumulation: Callable[[int, int], int] | None = None


class Imports(NamedTuple):
    """How a framework's own files are told and read.

    `starts` says whether a program with these arguments is a run of the framework's. `marks` are keys of its config
    files that no other framework has, or one level down (`training.max_seq_length`). `refused` are the same with why
    they cannot be read: another engine's commands.
    """

    starts: Callable[[str, Sequence[str]], bool]
    marks: frozenset[str]
    settings: Callable[[Run, Place], Settings]
    refuses: Callable[[str, Sequence[str]], str] = lambda _program, _arguments: ""
    whole: bool = True  # its files say all of a run; false: a part, which the user completes


def flags(arguments: Sequence[str], known: Collection[str] = ()) -> dict[str, Any]:
    """`--key value`, `--key=value`, `--key a b` and `--key` alone (true), as text; words before are dropped.

    Of the keys that are `known` the start is enough, as for argparse, where only one begins so.
    """
    made: dict[str, Any] = {}
    name = ""
    for word in arguments:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            name = _whole(name, known)
            made[name] = [value] if equals else []
        elif name:
            made[name].append(word)
    return {name: True if not values else values[0] if len(values) == 1 else values for name, values in made.items()}


def _whole(name: str, known: Collection[str]) -> str:
    """The one key that begins with a name."""
    plain = name.replace("-", "_")
    found = [key for key in known if key.startswith(plain)] if plain not in known else []
    return found[0] if len(found) == 1 else name


def scalars(found: Mapping[str, Any]) -> dict[str, Any]:
    """Flags with their text read as JSON where it is some: for a framework without a contract to tell types."""
    return {name: _scalar(value) for name, value in found.items()}


def _scalar(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def pairs(arguments: Sequence[str]) -> dict[str, str]:
    """`key=value` words."""
    split = (word.partition("=") for word in arguments if "=" in word and not word.startswith("-"))
    return {key: value for key, _, value in split}
