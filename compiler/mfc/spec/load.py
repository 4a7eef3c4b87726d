"""The door to the language: `load` reads a spec, its bases and the overrides into one validated `LoadedSpec`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from mfc.errors import SpecError
from mfc.spec import explain, layers, yaml12
from mfc.spec.marks import Mark, Mistake, Source, nearest, refusal
from mfc.spec.models import Range, Spec
from mfc.spec.yaml12 import Node


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A valid spec, and where each of its values came from."""

    spec: Spec
    path: Path | None  # None for a mapping given by a program
    sources: tuple[Path, ...]  # every file that was read, the spec first
    overrides: tuple[str, ...]  # as given, KEY=VALUE
    pinned: frozenset[str]  # dotted fields that the user set to one value: not auto, not a range
    root: Node = field(repr=False)  # the merged tree, short forms expanded

    @property
    def name(self) -> str:
        """What errors call the spec: its path, or `spec` for a mapping."""
        return str(self.path) if self.path else "spec"

    @property
    def raw(self) -> dict[str, Any]:
        """The merged spec as plain data, as `load` takes it; its bases are in it."""
        return {key: value for key, value in self.root.plain().items() if key != "extends"}

    @property
    def sha256(self) -> str:
        """Digest of what the spec says, overrides included; comments and the order of keys do not count."""
        import hashlib
        import json

        return hashlib.sha256(json.dumps(self.raw, sort_keys=True).encode()).hexdigest()

    @property
    def positions(self) -> dict[str, str]:
        """Dotted field -> file:line:column where its value stands; items of lists by their index."""
        return dict(_positions(self.root, ""))

    def where(self, name: str) -> Mark:
        """Where a field was set, or the nearest section above it; `str()` of it is file:line:column."""
        return explain.find(self.root, name.split(".")).place

    def folder(self, name: str) -> Path:
        """The folder that a path in this field is relative to: that of the file which set it."""
        path = self.where(name).source.path or self.path
        return path.parent if path else Path()

    def error(
        self, name: str, text: str, *, allowed: str = "", among: Sequence[str] = (), word: str = "", hint: str = ""
    ) -> SpecError:
        """An error at a field, to raise. `among` are the names that exist, `word` the one that was not found there."""
        return refusal([Mistake(self.where(name), text, allowed, nearest(word, among) if word else "", hint)])


def load(source: str | os.PathLike[str] | Mapping[str, object], overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read a spec from a file, or from a mapping of the same shape; lay the overrides (KEY=VALUE) over it.

    Raises SpecError, whose text says where and how, for anything that is wrong with it.
    """
    path = None if isinstance(source, Mapping) else Path(source)
    if isinstance(source, Mapping):
        root, files = layers.read_tree(yaml12.from_python(source, Mark(Source("spec"))))
    else:
        root, files = layers.read_file(Path(source))
    for override in overrides:
        root = layers.merge(root, layers.read_override(override))
    try:
        with _no_plugins():
            spec = Spec.model_validate(root.plain())
    except ValidationError as error:
        raise refusal(explain.problems(error, root)) from None
    return LoadedSpec(
        spec=spec,
        path=path,
        sources=tuple(files),
        overrides=tuple(overrides),
        pinned=frozenset(_pinned(spec, "")),
        root=root,
    )


@contextmanager
def _no_plugins() -> Iterator[None]:
    """Keep pydantic from searching all installed packages for plugins: slow, and one could change what a spec means.

    The variable is pydantic's own switch; the empty loader spares the import of importlib.metadata, which the real one
    needs before it looks at the switch.
    """
    key, loader = "PYDANTIC_DISABLE_PLUGINS", "pydantic.plugin._loader"
    variable, module = os.environ.get(key), sys.modules.get(loader)
    empty = ModuleType(loader)
    vars(empty)["get_plugins"] = tuple
    os.environ[key], sys.modules[loader] = "__all__", empty
    try:
        yield
    finally:
        del os.environ[key], sys.modules[loader]
        if variable is not None:
            os.environ[key] = variable
        if module is not None:
            sys.modules[loader] = module


def _pinned(section: BaseModel, prefix: str) -> Iterator[str]:
    for name in section.model_fields_set:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _pinned(value, f"{prefix}{name}.")
        elif name == "targets" and isinstance(value, dict):
            for target, settings in value.items():
                yield from _pinned(settings, f"{prefix}{name}.{target}.")
        elif value is not None and value != "auto" and not isinstance(value, Range):
            yield prefix + name


def _positions(node: Node, name: str) -> Iterator[tuple[str, str]]:
    yield name, str(node.place)
    if isinstance(node.value, (dict, list)):
        items = node.value.items() if isinstance(node.value, dict) else enumerate(node.value)
        for key, item in items:
            yield from _positions(item, f"{name}.{key}".lstrip("."))
