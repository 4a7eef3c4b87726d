"""What a target is, and the registry of those installed.

A target is a module (a folder under targets/) that satisfies `Target`. It says what its framework can do and how it
uses memory (`profile`), what its code forbids (`RULES`), how plan fields become native keys (`KEYS`), and turns a plan
into native data (`lower`). It never sees how the plan was found and writes no files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from mfc.errors import SpecError
from mfc.memory.stack import Stack

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.rules.engine import Rule


class Profile(NamedTuple):
    """What one version of a framework supports and how it uses memory.

    `supports` maps a plan field (task, method, sharding, attention, loss, optimizer, ...) to the values the framework
    can express, best known first; a field that is absent is not limited. `notes` say what a limit means for the user.
    """

    target: str
    version: str
    stack: Stack
    supports: Mapping[str, tuple[Any, ...]] = {}
    packages: Mapping[str, str | None] = {}  # what the user says is installed; None = absent
    notes: Mapping[str, str] = {}


class Key(NamedTuple):
    """One native key: which plan fields it carries, and how it is written.

    `value` computes the native value (default: the first field as it is); `when` says if the key is emitted at all.
    """

    name: str  # dotted where the native file nests
    fields: tuple[str, ...]
    value: Callable[[Plan], Any] | None = None
    when: Callable[[Plan], bool] | None = None
    section: str = ""
    note: str = ""  # for the mapping table in the target's README


class File(NamedTuple):
    """One output, still as data. `cites` maps each dotted native key to the plan fields it carries.

    `template` is a Jinja2 file in the target's folder, given `data`, `plan`, `cites` and the filters of emit.render;
    None writes canonical JSON. `contract` names the JSON Schema under schemas/contracts that `data` must satisfy.
    """

    path: str  # relative to the output folder, with forward slashes
    data: Mapping[str, Any]
    template: str | None = None
    contract: str | None = None
    cites: Mapping[str, tuple[str, ...]] = {}
    sections: Mapping[str, tuple[str, ...]] = {}  # heading -> native keys, in order
    executable: bool = False


class Lowered(NamedTuple):
    """All files of one target, and the command that starts the run from the output folder."""

    files: tuple[File, ...]
    launch: str


class Target(Protocol):
    """The contract of a module under targets/."""

    NAME: str  # what the user types: --target NAME
    TITLE: str  # the framework's own spelling
    VERSIONS: tuple[str, ...]  # newest first; the first is the default
    RULES: tuple[Rule, ...]
    KEYS: tuple[Key, ...]
    UNMODELLED: frozenset[str]  # native keys of the user's that may change memory in ways mfc does not count

    def profile(self, version: str, packages: Mapping[str, str | None]) -> Profile:
        """What this version supports. `packages` is what the user declared about the machine."""

    def lower(self, plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
        """Native data for a plan. `extra` are the user's own native keys, already checked against the contract.

        `out_to_spec` is the relative path from the output folder to the spec's folder, with forward slashes: paths in
        the spec are relative to the spec, paths in the outputs to the output folder. Raises Refused for a field of the
        spec that cannot be written, CannotExpress for what the framework cannot say.
        """


def names() -> tuple[str, ...]:
    """Names of all targets: those shipped, and those other packages register (entry points, group `mfc.targets`)."""
    return tuple(sorted({*_shipped(), *_registered()}))


def get(name: str) -> Target:
    """The target called `name`. Raises SpecError with the known names otherwise."""
    import importlib

    if name in _shipped():
        return cast(Target, importlib.import_module(f"mfc.targets.{name.replace('-', '_')}"))
    registered = _registered()
    if name in registered:
        return cast(Target, registered[name].load())
    import difflib

    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SpecError(f"error: unknown target {name!r}: there are {', '.join(names())}{hint}")


def _shipped() -> tuple[str, ...]:
    import pkgutil

    import mfc.targets

    return tuple(module.name.replace("_", "-") for module in pkgutil.iter_modules(mfc.targets.__path__) if module.ispkg)


def _registered() -> Mapping[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group="mfc.targets")}
