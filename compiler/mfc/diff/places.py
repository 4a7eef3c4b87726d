"""Where the files of an imported run say a field: the line of its key, or whose default it is."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from mfc import files
from mfc.diff.side import Stated
from mfc.fields import NEUTRAL, place
from mfc.imports import lines

if TYPE_CHECKING:
    from mfc.imports import Imported


class Places:
    """The lines of the files of one run; `text` is that of its first file."""

    def __init__(self, one: Imported, text: str) -> None:
        self.one, self._main = one, lines.lines(one.file, text)
        self._beside: dict[str, dict[str, int]] = {}

    def key(self, part: str, key: str) -> str:
        """The file and the line of a key."""
        if path := self.one.beside.get(part):
            if part not in self._beside:
                self._beside[part] = lines.lines(path.name, files.read(path).decode("utf-8-sig", "replace"))
            return _place(str(path), self._beside[part].get(key, 0))
        return _place(self.one.file, self._main.get(key.replace("-", "_"), self._main.get(key, 0)))

    def field(self, name: str, value: Any, because: str = "") -> Stated:
        """A field with its value. `because`: why mfc planned with it, where no file says it."""
        if name == "batch_size":
            return Stated(value, "micro_batch x gradient_accumulation x GPUs")
        fact = self._facts.get(name)
        if fact and not fact.assumed:
            return Stated(value, self.key(fact.part, fact.key))
        if fact:
            return Stated(value, f"default of {self.one.title} {self.one.version} ({fact.key})", "default")
        if row := self._rows.get(place(name) or name):
            return Stated(value, self.key(row.part, row.key))
        if name == "hardware":
            return Stated(value, "--hardware")
        if name in self.one.told.values or name == "data.train" or _nothing(name, value):
            return Stated(value, f"{self.one.title} {self.one.version}'s own", "default")
        if name in _FOLLOWS or not place(name):
            return Stated(value, f"follows: {because}", "default")
        return Stated(value, "", "mfc")

    @cached_property
    def _facts(self) -> dict[str, Any]:
        """By field, or the head of one, the fact that tells it: what is written before what is assumed."""
        found: dict[str, Any] = {}
        told = [fact for fact in self.one.told.facts if not fact.note]
        for fact in sorted(told, key=lambda one: one.assumed):
            for field in fact.fields:
                found.setdefault(field, fact)
                found.setdefault(field.partition(".")[0], fact)
        return found

    @cached_property
    def _rows(self) -> dict[str, Any]:
        """By path of the spec, the first row of the table that became it."""
        found: dict[str, Any] = {}
        for row in self.one.rows:
            for path in row.to.split(", ") if row.to and row.status != "defaulted" else ():
                found.setdefault(path, row)
        return found


def _nothing(name: str, value: Any) -> bool:
    """Whether a value is what a framework does that has no word for a field."""
    return value in (None, (), "", "none", False) or value in NEUTRAL.get(name, ())


# Fields with a place in the spec that nobody but mfc need say.
_FOLLOWS = ("pictures", "image_share", "reduce_bucket_elements", "allgather_bucket_elements", "template")


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file
