"""What a target is, and the registry of those installed.

A target is a module (a folder under targets/) that satisfies `Module`. It says what its framework can do and how it
uses memory (`profile`), what its code forbids (`RULES`), how plan fields become native keys (`KEYS`), and turns a plan
into native data (`lower`). It never sees how the plan was found and writes no files. What else a target needs is in
this folder: `keys` and `codecs`, `when`, `launch`, `paths`, `versions`, `templates`, `outputs`, `contracts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from mfc.errors import Fault, SpecError
from mfc.fields import ANYTHING, BY_NAME, NEUTRAL
from mfc.profile import Profile
from mfc.target.clashes import Clash
from mfc.target.keys import Key
from mfc.target.outputs import File, Lowered, Start

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.rules.engine import Rule
    from mfc.target.importing import Imports

__all__ = ["File", "Key", "Lowered", "Module", "Profile", "Start", "Target", "commonest", "get", "imports", "names"]


class Module(Protocol):
    """What a module under targets/ has to hold; `Target` says what it may hold besides."""

    NAME: str  # what the user types: --target NAME
    TITLE: str  # the framework's own spelling
    VERSIONS: tuple[str, ...]  # newest first; the first is the default
    RULES: tuple[Rule, ...]
    KEYS: tuple[Key, ...]

    def profile(self, version: str, packages: Mapping[str, str | None]) -> Profile:
        """What this version supports. `packages` is what the user declared about the machine."""

    def lower(self, plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
        """Native data for a plan. `extra` are the user's own native keys, already checked against the contract.

        `out_to_spec` is the relative path from the output folder to the spec's folder, with forward slashes: paths in
        the spec are relative to the spec, paths in the outputs to the output folder. Raises Refused for a field of the
        spec that cannot be written, CannotExpress for what the framework cannot say.
        """


class Target(NamedTuple):
    """A target as it was loaded: what its module holds, and defaults for what it may leave out."""

    NAME: str
    TITLE: str
    VERSIONS: tuple[str, ...]
    RULES: tuple[Rule, ...]
    KEYS: tuple[Key, ...]
    profile: Callable[[str, Mapping[str, str | None]], Profile]
    lower: Callable[[Plan, Mapping[str, Any], str], Lowered]
    folder: Path  # where its templates lie
    package: str  # its dotted name
    ELSEWHERE: Mapping[str, str] = {}  # plan fields that no key carries -> where they are said instead
    CLASHES: tuple[Clash, ...] = ()  # what the framework refuses of the user's native keys beside a plan
    UNMODELLED: frozenset[str] = frozenset()  # native keys of the user's whose effect on memory mfc does not count
    DISTRIBUTION: str = ""  # the package that holds the framework, as an index spells it; empty: no index has it
    TURN: int = 0  # its place among those asked where a spec names no target, the commonest 1; 0: it is not asked


def names() -> tuple[str, ...]:
    """Names of all targets: those shipped, and those other packages register (entry points, group `mfc.targets`)."""
    return tuple(sorted({*_shipped(), *_registered()}))


def commonest() -> tuple[str, ...]:
    """The targets to plan for where a spec names none, the commonest first; without any that says so, all of them."""
    shipped = [get(name) for name in _shipped()]
    asked = sorted((target.TURN, target.NAME) for target in shipped if target.TURN)
    return tuple(name for _, name in asked) or names()


@lru_cache
def get(name: str) -> Target:
    """The target called `name`.

    Raises SpecError with the known names when there is none, Fault when it names fields that mfc does not know.
    """
    import importlib

    if name in _shipped():
        return _loaded(importlib.import_module(f"mfc.targets.{name.replace('-', '_')}"))
    registered = _registered()
    if name in registered:
        try:
            module = registered[name].load()
        except Exception as error:  # whatever another package's code may raise
            raise Fault(f"error: target {name} cannot be loaded: {type(error).__name__}: {error}") from error
        return _loaded(module)
    import difflib

    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SpecError(f"error: unknown target {name!r}: there are {', '.join(names())}{hint}")


def _loaded(module: Any) -> Target:
    found = cast(Module, module)
    target = Target(
        NAME=found.NAME,
        TITLE=found.TITLE,
        VERSIONS=found.VERSIONS,
        RULES=found.RULES,
        KEYS=found.KEYS,
        profile=found.profile,
        lower=found.lower,
        folder=Path(module.__file__).parent,
        package=module.__name__,
        ELSEWHERE=getattr(module, "ELSEWHERE", {}),
        CLASHES=getattr(module, "CLASHES", ()),
        UNMODELLED=getattr(module, "UNMODELLED", frozenset()),
        DISTRIBUTION=getattr(module, "DISTRIBUTION", ""),
        TURN=getattr(module, "TURN", 0),
    )
    if wrong := [*_unknown_support(target), *_unknown_fields(target)]:
        raise Fault("\n".join(f"error: target {target.NAME}: {line}" for line in wrong))
    return target


def imports(name: str) -> Imports | None:
    """How the framework's own files are read: what the module `imports` of a target holds; None where there is none."""
    from importlib import import_module
    from importlib.util import find_spec

    target = get(name)
    if find_spec(f"{target.package}.imports") is None:
        return None
    found: Imports | None = getattr(import_module(f"{target.package}.imports"), "IMPORTS", None)
    return found


_SECTIONS = ("model", "hardware", "data", "train", "strategy", "run")  # of the spec, which a key may carry alone


def _unknown_support(target: Target) -> list[str]:
    """What its profiles say of fields, or values, that mfc does not have."""
    found = []
    for version in target.VERSIONS:
        profile = target.profile(version, {})
        if profile.target != target.NAME:
            found.append(f"its profile is that of {profile.target}")
        for name, values in profile.supports.items():
            if not isinstance(values, tuple) or (not values and values is not ANYTHING):
                found.append(f"supports says {name} {values!r}, which is no tuple of values")
        for name in {*profile.always, *profile.usual} - BY_NAME.keys():
            found.append(f"always or usually has {name}, which is no field of a plan")
        for name in {*profile.supports, *profile.notes} - NEUTRAL.keys():
            found.append(f"supports names {name}, which no target declares; there are {', '.join(NEUTRAL)}")
        for name, values in profile.supports.items():
            found += [
                f"supports says {name} {value}, which mfc does not know; there are {', '.join(map(str, known))}"
                for known in [BY_NAME[name].values if name in NEUTRAL else values]
                for value in values
                if value not in known
            ]
    return list(dict.fromkeys(found))


def _unknown_fields(target: Target) -> list[str]:
    """Fields that its keys carry, or that it says elsewhere, and that no plan has."""
    plain = BY_NAME.keys() | {rule.writes for rule in target.RULES}

    def known(name: str) -> bool:
        head, dot, _ = name.partition(".")
        return head in plain or (bool(dot) and head in _SECTIONS)

    found = [f"key {key.name} carries {name}" for key in target.KEYS for name in key.fields if not known(name)]
    found += [
        f"key {key.name} is there by {name}"
        for key in target.KEYS
        for name in (key.when.tells if key.when else ())
        if not known(name)
    ]
    found += [f"ELSEWHERE names {name}" for name in target.ELSEWHERE if not known(name)]
    return [f"{line}, which is no field of a plan nor of a spec" for line in found]


def _shipped() -> tuple[str, ...]:
    import pkgutil

    import mfc.targets

    return tuple(module.name.replace("_", "-") for module in pkgutil.iter_modules(mfc.targets.__path__) if module.ispkg)


@lru_cache(maxsize=1)  # what is installed does not change while mfc runs
def _registered() -> Mapping[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group="mfc.targets")}
