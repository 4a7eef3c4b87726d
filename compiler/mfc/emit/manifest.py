"""The manifest `.mfc.json` of an output folder: what was compiled, from what, and the digests of what was written.

It holds no time, no machine and no decisions (it is not a lock). The version of mfc stands only here, so that a
release does not touch every generated file. Its paths are relative to its own folder, with forward slashes.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from mfc.errors import SpecError
from mfc.files import read as read_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mfc.emit.compiled import Compiled

NAME = ".mfc.json"
STAGED = (".mfc-", ".tmp")  # what the names of files begin and end with while they are written
SCHEMA = 1


class Manifest(NamedTuple):
    """`declared` tells outputs that the spec itself asks for from those asked for on the command line."""

    spec: str  # empty when the spec was no file
    target: str
    overrides: tuple[str, ...]
    declared: bool
    version: str
    inputs: Mapping[str, str]  # path -> sha256
    files: Mapping[str, str]  # path in this folder -> sha256

    def spec_from(self, folder: str) -> str:
        """Absolute path of the spec, for a manifest that lies in `folder`."""
        return os.path.normpath(os.path.join(os.path.realpath(folder), self.spec))


class Broken(ValueError):
    """A manifest that mfc did not write so: edited, or left with the marks of a merge."""


def digest(content: bytes) -> str:
    """Hex sha256."""
    return hashlib.sha256(content).hexdigest()


def of(compiled: Compiled) -> Manifest:
    """The manifest that belongs to a compilation. Reads the inputs to digest them.

    Raises SpecError for an input whose name no manifest can hold.
    """
    from mfc._version import __version__

    folder = os.path.abspath(compiled.out)
    inputs = {_relative(os.fspath(path), folder): digest(read_file(path)) for path in compiled.inputs}
    return Manifest(
        spec=_relative(os.fspath(compiled.spec), folder) if compiled.spec else "",
        target=compiled.target,
        overrides=compiled.overrides,
        declared=compiled.declared,
        version=__version__,
        inputs=dict(sorted(inputs.items())),
        files={path: digest(text.encode()) for path, text in sorted(compiled.files.items())},
    )


def text(manifest: Manifest) -> str:
    """The manifest as it is written: the same for the same inputs, on any machine."""
    content = {
        "schema": SCHEMA,
        "mfc": manifest.version,
        "spec": manifest.spec,
        "target": manifest.target,
        "declared": manifest.declared,
        "overrides": list(manifest.overrides),
        "inputs": dict(manifest.inputs),
        "files": dict(manifest.files),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read(folder: str | os.PathLike[str]) -> Manifest | None:
    """The manifest of an output folder; None when there is none. Raises Broken."""
    try:
        return parse(read_file(os.path.join(folder, NAME)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Broken(error.strerror) from error


def leftovers(folder: str | os.PathLike[str]) -> list[str]:
    """Files that writes left in an output folder as they were cut short."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(name for name in names if name.startswith(STAGED[0]) and name.endswith(STAGED[1]))


def parse(content: bytes) -> Manifest:
    """A manifest from its bytes. Raises Broken for anything that mfc would not have written."""
    try:
        data = json.loads(content)
        if data["schema"] != SCHEMA:
            raise Broken(f"schema {data['schema']}, not {SCHEMA}: written by another mfc")
        manifest = Manifest(
            spec=str(data["spec"]),
            target=str(data["target"]),
            overrides=tuple(map(str, data["overrides"])),
            declared=bool(data["declared"]),
            version=str(data["mfc"]),
            inputs={str(path): str(sha) for path, sha in data["inputs"].items()},
            files={str(path): str(sha) for path, sha in data["files"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Broken(str(error) if isinstance(error, Broken) else "not a manifest that mfc wrote") from error
    # What a manifest lists may be deleted or rewritten, so it may list nothing outside its folder.
    if not all(map(_inside, manifest.files)):
        raise Broken("it lists files outside its folder")
    return manifest


def _inside(path: str) -> bool:
    """Whether a path is one that mfc writes: downwards, by names that every file system takes."""
    parts = path.replace("\\", "/").split("/")
    odd = "\0" in path or any("\ud800" <= char <= "\udfff" for char in path)
    return not (odd or os.path.isabs(path) or {"", ".", ".."} & set(parts))


def _relative(path: str, folder: str) -> str:
    relative = _from(path, folder)
    if any("\ud800" <= char <= "\udfff" for char in relative):  # how Python shows bytes that are no text
        raise SpecError(f"{path!a}: error: the manifest of outputs is text, and this name is not UTF-8: rename it")
    return relative


def _from(path: str, folder: str) -> str:
    # Folders are resolved on both sides, so that one reached through a link counts its steps right.
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    try:
        return os.path.relpath(real, os.path.realpath(folder)).replace(os.sep, "/")
    except ValueError:  # another drive on Windows
        return real.replace(os.sep, "/")
