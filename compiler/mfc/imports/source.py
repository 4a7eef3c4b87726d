"""What a user hands to `mfc import`: a config file, a script, or text from standard input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mfc import files
from mfc.errors import SpecError
from mfc.imports import literals, shell
from mfc.spec import yaml12
from mfc.spec.marks import Mark, Source, printable

_UP = 4  # folders above a file in which what it names is looked for: examples/train/x.yaml runs from the repository
_CONFIGS, _SCRIPTS = (".yaml", ".yml", ".json"), (".sh", ".bash", ".slurm", ".sbatch")


class Found(NamedTuple):
    """A file that was read: its text, and its mapping or the commands of a script."""

    name: str
    folder: Path
    text: str
    config: Mapping[str, Any] | None = None
    script: shell.Script | None = None
    instead: Mapping[str, str] = {}  # texts that stand in for files on the disk, by their paths


def read(file: str) -> Found:
    """Read a file, or standard input for `-`. Raises SpecError, in one line, for what is none of what can be read."""
    if file == "-":
        name = "standard input"
        return parsed(name, Path(), _decoded(name, files.standard_input(yaml12.MAX_BYTES)))
    return parsed(file, Path(file).parent, _text(Path(file)))


def parsed(name: str, folder: Path, text: str) -> Found:
    """What a text says that is called `name` and lies in `folder`."""
    if not text.strip():
        raise SpecError(f"{printable(name)}: error: is empty")
    match _kind(name, text):
        case "config":
            return Found(name, folder, text, config=_mapping(name, text))
        case "python":
            return Found(name, folder, text, config=literals.read(name, text, _load))
    return Found(name, folder, text, script=shell.read(text))


class Files:
    """Files that a config names: those that its script writes, then those beside it, above it, and where mfc runs.

    A config of a repository's examples is run from the repository; the folder in which the first named file is found
    counts as the one where the run starts.
    """

    def __init__(self, found: Found) -> None:
        self._written = found.script.files if found.script else {}
        self._instead = found.instead
        above = [found.folder, *(found.folder / "/".join([".."] * up) for up in range(1, _UP + 1))]
        self._folders = [*above, Path()]
        self.folder = found.folder

    def text(self, path: str) -> str | None:
        """The text of a file; None where there is none that can be read."""
        if (written := self._of_script(path)) is not None:
            return written
        for folder in self._folders:
            try:
                text = self._instead.get(str(folder / path), "").removeprefix("\ufeff") or _text(folder / path)
            except SpecError:
                continue
            self.folder, self._folders = folder, [folder, *self._folders]
            return text
        return None

    def path(self, path: str) -> Path | None:
        """Where a file lies; None where there is none, or the script writes it."""
        if self._of_script(path) is not None or self.text(path) is None:
            return None
        return self.folder / path

    def _of_script(self, path: str) -> str | None:
        name = path.removeprefix("./")
        return next((text for written, text in self._written.items() if written.removeprefix("./") == name), None)

    def mapping(self, path: str) -> dict[str, Any] | None:
        """What a YAML, JSON or Python file says; None where there is none. Raises SpecError for a malformed one."""
        text = self.text(path)
        if text is None:
            return None
        if path.endswith(".py"):
            return literals.read(str(self.folder / path), text, _load)
        return _mapping(path, text)


def _load(path: str) -> str | None:
    """A file that a Python config builds on; None where there is none."""
    try:
        return _text(Path(path))
    except SpecError:
        return None


def _kind(name: str, text: str) -> str:
    suffix = Path(name).suffix.lower()
    if suffix in _CONFIGS:
        return "config"
    if suffix in _SCRIPTS or text.startswith("#!"):
        return "script"
    if suffix == ".py":
        return "python"
    if text.lstrip().startswith("{"):
        return "config"
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return "config" if lines and lines[0].partition(":")[0].isidentifier() and ":" in lines[0] else "script"


def _text(path: Path) -> str:
    name = printable(str(path))
    try:
        data = files.read(path, yaml12.MAX_BYTES)
    except FileNotFoundError:
        raise SpecError(f"{name}: error: no such file") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{name}: error: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return _decoded(name, data)


def _decoded(name: str, data: bytes) -> str:
    if len(data) > yaml12.MAX_BYTES:
        raise SpecError(f"{name}: error: is larger than {yaml12.MAX_BYTES // 2**20} MiB, so it is no config")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{name}: error: is not UTF-8 text") from None


def _mapping(name: str, text: str) -> dict[str, Any]:
    """A mapping of YAML or JSON. YAML is read as YAML 1.2 has it; what 1.1 reads otherwise, types put right later."""
    source = Source(name, Path(name), text.splitlines())
    if text.lstrip().startswith("{"):
        try:
            node: yaml12.Node | None = yaml12.from_python(json.loads(text), Mark(source))
        except RecursionError:
            raise SpecError(f"{printable(name)}: error: is nested too deeply") from None
        except ValueError:
            node = _parsed(text, source)  # comments and commas too many, which YAML forgives
    else:
        node = _parsed(text, source)
    made = node.plain() if node else None
    if not isinstance(made, dict):
        raise SpecError(f"{printable(name)}: error: is no mapping of keys to values")
    return made


def _parsed(text: str, source: Source) -> yaml12.Node | None:
    return yaml12.parse(text.expandtabs(2), source)
