"""A mapping that notes which of its keys are looked up: how one learns which keys a framework reads at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Recorder(dict[str, Any]):
    """Notes in `read` the dotted path of every key that is looked up in it, with the default that was asked for.

    A walk, as in `Model(**section)`, hands the section over whole and counts as reading all of it: DeepSpeed does that
    only with pydantic models, which refuse keys they do not know.
    """

    def __init__(self, data: dict[str, Any], read: dict[str, Any], path: str = "") -> None:
        super().__init__()
        self.read, self.path = read, path
        for key, value in data.items():
            super().__setitem__(key, Recorder(value, read, f"{path}{key}.") if isinstance(value, dict) else value)

    def get(self, key: str, default: Any = None) -> Any:  # noqa: D102  as in dict
        self.read[f"{self.path}{key}"] = default
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.read.setdefault(f"{self.path}{key}")
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.read.setdefault(f"{self.path}{key}")
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        for key, value in super().items():
            for path in paths({key: value}):
                self.read.setdefault(self.path + path)
            yield key

    def keys(self) -> Any:  # noqa: D102  as in dict
        return _Keys(self)

    def items(self) -> Any:  # noqa: D102  as in dict
        return [(key, super(Recorder, self).__getitem__(key)) for key in self]

    def __copy__(self) -> Recorder:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorder:
        return self


class _Keys:
    """What `keys()` gives: a membership test reads one key, a walk reads all."""

    def __init__(self, section: Recorder) -> None:
        self.section = section

    def __contains__(self, key: object) -> bool:
        return key in self.section

    def __iter__(self) -> Iterator[str]:
        return iter(self.section)


def paths(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted path of every key in a nested mapping, without noting any as read."""
    for key, value in dict.items(node):
        yield prefix + key
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")
