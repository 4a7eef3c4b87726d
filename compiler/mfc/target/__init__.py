"""What a target is, and the registry of those installed.

A target is a module (a folder under targets/) that satisfies `Target`. It says what its framework can do and how it
uses memory (`profile`), what its code forbids (`RULES`), how plan fields become native keys (`KEYS`), and turns a plan
into native data (`lower`). It never sees how the plan was found and writes no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from mfc.errors import SpecError
from mfc.profile import Profile
from mfc.target.keys import Key
from mfc.target.outputs import File, Lowered

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.rules.engine import Rule

__all__ = ["File", "Key", "Lowered", "Profile", "Target", "get", "names"]


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
