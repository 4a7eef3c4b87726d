"""Typed access to the keys of a config.json, with errors that name the key and the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mfc.errors import SpecError


class Keys(NamedTuple):
    """A JSON object and where it comes from. A key that is null counts as absent."""

    values: Mapping[str, Any]
    where: str

    def has(self, name: str) -> bool:
        """Whether the key is there and not null."""
        return self.values.get(name) is not None

    def number(self, *names: str) -> int:
        """The first of `names` that is there, a positive whole number; SpecError when none is."""
        found = self.optional(*names)
        if found is None:
            raise SpecError(f"{self.where}: the key {' or '.join(names)} is missing")
        if found <= 0:
            name = next(name for name in names if self.has(name))
            raise SpecError(f"{self.where}: {name} is {found}, it has to be positive")
        return found

    def optional(self, *names: str) -> int | None:
        """The first of `names` that is there, a whole number; None when none is."""
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if not isinstance(value, int) or isinstance(value, bool):
                raise SpecError(f"{self.where}: {name} is {value!r}, it has to be a whole number")
            return value
        return None

    def flag(self, name: str, default: bool = False) -> bool:
        """A yes or no."""
        value = self.values.get(name)
        return default if value is None else bool(value)

    def text(self, name: str, default: str | None = None) -> str:
        """A text; SpecError when it is missing and there is no default."""
        value = self.values.get(name, default)
        if not isinstance(value, str):
            what = "is missing" if value is None else f"is {value!r}, it has to be text"
            raise SpecError(f"{self.where}: the key {name} {what}")
        return value

    def section(self, name: str) -> Keys | None:
        """A nested object, or None."""
        value = self.values.get(name)
        return Keys(value, f"{self.where}: {name}") if isinstance(value, Mapping) else None

    def with_defaults(self, defaults: Mapping[str, Any]) -> Keys:
        """The same keys over a layer of defaults."""
        return self._replace(values={**defaults, **self.values})

    def dtype(self) -> str | None:
        """The dtype that the checkpoint is stored in, without `torch.`."""
        value = self.values.get("dtype") or self.values.get("torch_dtype")
        return value.removeprefix("torch.") if isinstance(value, str) else None
