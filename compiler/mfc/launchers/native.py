"""The user's own keys of an engine (`run.launcher.extra`), laid over what mfc writes and checked by its contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mfc.emit import contract
from mfc.errors import SpecError
from mfc.launchers.job import refused
from mfc.target.outputs import File

AT = "run.launcher.extra"


def laid_over(file: File, extra: Mapping[str, Any], free: Mapping[str, Any]) -> File:
    """The file with the user's keys: mappings join, lists go on, and what mfc wrote stays.

    `free` names what may be written over, nested like the data. Raises Refused for other keys that mfc wrote, SpecError
    for those that the contract does not know.
    """
    data = _joined(file.data, extra, free, AT)

    def blame(key: str, text: str, names: Collection[str]) -> SpecError:
        import difflib

        near = difflib.get_close_matches(key.rpartition(".")[2], names, n=1)
        text = f"{file.contract} knows no such key" if names else text
        return refused(f"{AT}.{key}", f"{text}; did you mean {near[0]}?" if near else text)

    made = file._replace(data=data)
    contract.check(made, extra, {}, blame)
    return made


def _joined(ours: Any, theirs: Mapping[str, Any], free: Mapping[str, Any], at: str) -> dict[str, Any]:
    made = dict(ours)
    for key, value in theirs.items():
        may = free.get(key)
        if key not in made:
            made[key] = value
        elif isinstance(value, Mapping) and isinstance(made[key], Mapping):
            made[key] = _joined(made[key], value, may or {}, f"{at}.{key}")
        elif isinstance(value, list) and isinstance(made[key], list):
            made[key] = [*made[key], *value]
        elif may is True:
            made[key] = value
        else:
            raise refused(f"{at}.{key}", "is written by mfc", "it follows from the rest of the spec")
    return made
