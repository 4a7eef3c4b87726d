"""What the form says, planned: sheets, files, and how they differ from before and from what lies on disk."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc import api, emit
from mfc.catalog import models
from mfc.emit import manifest
from mfc.errors import MfcError, SpecError
from mfc.fields import CHOICES, SPEC_PATHS
from mfc.files import read
from mfc.page.sheet import Refused, Sheet, sheets
from mfc.spec import yaml12
from mfc.spec.marks import Source
from mfc.target import names as all_targets
from mfc.ui import edits

if TYPE_CHECKING:
    from mfc.spec.load import LoadedSpec

# What a browser may change. None of it names a file; `model` is held to the catalogue, for a model may be a folder.
FIELDS = frozenset(
    {
        *(SPEC_PATHS[name] for name in CHOICES),
        *("model", "hardware.gpu", "hardware.count", "hardware.nodes", "hardware.host_memory"),
        *("hardware.interconnect.inter", "train.task", "train.batch_size", "train.freeze_parts"),
        *("train.quantization.bits", "train.lora.modules_to_save", "train.rollout.mode"),
        *("train.rollout.max_completion_length", "data.image.share", "data.image.max_pixels"),
    }
)
_LONGEST = 200  # letters of a value
_KEPT = 16  # states whose plans are remembered


class Asked(NamedTuple):
    """What the form says: fields that differ from the spec, and the targets; no targets: those of the spec."""

    changed: tuple[tuple[str, str], ...] = ()
    targets: tuple[str, ...] = ()


NOTHING = Asked()


class Found(NamedTuple):
    """What came of it."""

    sheets: tuple[Sheet | Refused, ...]
    files: Mapping[str, str]  # by target/path

    @property
    def plans(self) -> tuple[Sheet, ...]:
        """Those that are plans."""
        return tuple(one for one in self.sheets if isinstance(one, Sheet))


def asked(said: object) -> Asked:
    """What a browser sent, if it is what a form may say. Raises SpecError."""
    if not isinstance(said, dict) or said.keys() > {"set", "targets"}:
        raise SpecError("error: a state has set and targets")
    changed, targets = said.get("set", {}), said.get("targets", [])
    if not isinstance(changed, dict) or not isinstance(targets, list):
        raise SpecError("error: set is a mapping, targets are a list")
    for path, value in changed.items():
        if path not in FIELDS:
            raise SpecError(f"error: {path}: not a field that is changed here")
        if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST or not value.isprintable():
            raise SpecError(f"error: {path}: has no value, or one that is too long")
    known = all_targets()
    if unknown := [name for name in targets if name not in known]:
        raise SpecError(f"error: no target {unknown[0]}")
    return Asked(tuple(sorted(changed.items())), tuple(targets))


class Desk:
    """One spec on disk and what is planned of it. Plans are made one at a time."""

    def __init__(self, path: Path, overrides: tuple[str, ...] = ()) -> None:
        self.path, self._overrides = path, overrides
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, Asked], Found] = OrderedDict()

    def digest(self) -> str:
        """That of the spec's file as it is."""
        try:
            return manifest.digest(read(self.path, yaml12.MAX_BYTES))
        except OSError as error:
            raise SpecError(f"{self.path}: error: cannot be read: {error.strerror}") from None

    def loaded(self, wish: Asked = NOTHING) -> LoadedSpec:
        """The spec with what the form changes. Raises SpecError."""
        sets = [f"{path}={value}" for path, value in wish.changed]
        own = api.load(self.path, self._overrides)
        for path, value in wish.changed:
            if path == "model" and value != own.spec.model.id and not _catalogued(value):
                near = ", ".join(models.nearest(value))
                raise SpecError(
                    f"error: model: only models of the catalogue are tried here, and {value} is none"
                    + (f"\n  nearest: {near}" if near else "")
                )
        return api.load(self.path, (*self._overrides, *sets)) if sets else own

    def find(self, wish: Asked) -> Found:
        """Sheets and files. A spec that is wrong is a sheet too."""
        with self._lock:
            try:
                key = (self.digest(), wish)
            except SpecError as error:
                return Found((Refused(str(self.path), "", error),), {})
            if key not in self._known:
                self._known[key] = self._made(wish)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]

    def _made(self, wish: Asked) -> Found:
        try:
            loaded = self.loaded(wish)
            made = tuple(sheets(loaded, wish.targets))
            if "hardware.gpu" in dict(wish.changed) and not isinstance(loaded.spec.hardware.price, str):
                made = tuple(map(_unpriced, made))  # the price is that of another card
        except MfcError as error:
            made = (Refused(str(self.path), "", error),)
        files = {
            f"{one.compiled.target}/{path}": text
            for one in made
            if isinstance(one, Sheet) and one.compiled
            for path, text in one.compiled.files.items()
        }
        return Found(made, files)

    def save(self, wish: Asked, digest: str) -> str:
        """Write what the form changes into the spec; the digest of what it is then. Raises SpecError.

        `digest` is that of the file which the form was filled from: what was written since is not written over.
        """
        with self._lock:
            text = read(self.path, yaml12.MAX_BYTES)
            if manifest.digest(text) != digest:
                raise SpecError(f"{self.path}: error: was changed on disk since this page read it: reload the page")
            own, wanted = self.loaded(), self.loaded(wish)
            made = _written(self.path, text.decode(), own, wish)
            _replace(self.path, made.encode(), _raw(wanted, wish))
            return self.digest()


def _unpriced(one: Sheet | Refused) -> Sheet | Refused:
    return one._replace(bill=one.bill._replace(price=None)) if isinstance(one, Sheet) else one


def _catalogued(name: str) -> bool:
    """Whether this is the whole id of a model that mfc knows, and so no folder."""
    known = models.known(name)
    return known is not None and known.id.lower() == name.lower()


def _written(path: Path, text: str, own: LoadedSpec, wish: Asked) -> str:
    changed = {name: _plain(value) for name, value in wish.changed}
    try:
        made = edits.edited(text, changed)
        if wish.targets and list(wish.targets) != list(own.spec.targets):
            made = edits.retargeted(made, list(wish.targets), list(own.spec.targets))
    except edits.Elsewhere as reason:
        raise _by_hand(path, wish, str(reason)) from None
    return made


def _by_hand(path: Path, wish: Asked, why: str) -> SpecError:
    lines = [f"  {name}: {value}" for name, value in wish.changed]
    lines += [f"  targets: [{', '.join(wish.targets)}]"] if wish.targets else []
    return SpecError("\n".join([f"{path}: error: cannot be written to: {why}; put this there yourself:", *lines]))


def _plain(value: str) -> Any:
    """A value of the form as YAML has it: numbers as numbers."""
    node = yaml12.parse(value, Source("form"))
    return value if node is None else node.plain()


def _raw(wanted: LoadedSpec, wish: Asked) -> dict[str, Any]:
    """What the written spec must say."""
    raw = wanted.raw
    if wish.targets:
        told = raw.get("targets") or {}
        raw["targets"] = {name: told.get(name) or {} for name in wish.targets}
    return raw


def _replace(path: Path, content: bytes, wanted: Mapping[str, Any]) -> None:
    """Write a spec in one go, once it says what it should; a link stays one. Raises SpecError."""
    place = Path(os.path.realpath(path))
    try:
        handle, name = tempfile.mkstemp(prefix=".mfc-", suffix=path.suffix, dir=place.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            if api.load(name).raw != wanted:
                raise SpecError(f"{path}: error: cannot be written to: {edits.BY_HAND}")
            os.chmod(name, os.stat(place).st_mode & 0o7777)
            os.replace(name, place)
        finally:
            if os.path.lexists(name):
                os.unlink(name)
    except OSError as error:
        raise SpecError(f"{path}: error: cannot be written: {error.strerror}") from None


class Diff(NamedTuple):
    """A file that differs, by the lines of a unified diff."""

    path: str
    note: str  # new, gone, missing, stale, edited … where there are no lines
    lines: tuple[str, ...]


def since(before: Mapping[str, str], now: Mapping[str, str]) -> list[Diff]:
    """How files differ from those of another state."""
    found = []
    for path in sorted(before.keys() | now.keys()):
        if before.get(path) != now.get(path):
            note = "new" if path not in before else "gone" if path not in now else ""
            lines = difflib.unified_diff(
                before.get(path, "").splitlines(), now.get(path, "").splitlines(), path, path, n=2, lineterm=""
            )
            found.append(Diff(path, note, tuple(lines)[2:] if not note else ()))
    return found


def on_disk(found: Found) -> list[Diff]:
    """How files differ from those that lie where `mfc compile` would write them."""
    diffs = []
    for sheet in found.plans:
        for finding in emit.compare(sheet.compiled) if sheet.compiled else ():
            if finding.path.name != manifest.NAME:
                diffs.append(Diff(str(finding.path), finding.verdict, tuple(finding.diff.splitlines()[2:])))
    return diffs
