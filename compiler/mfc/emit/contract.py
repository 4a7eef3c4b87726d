"""Native data against the framework's contract: a JSON Schema per version, extracted from the framework itself.

A key that the framework does not take is either the user's (under `extra`: an error that names it) or mfc's own fault.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc.emit import quote
from mfc.errors import Fault, MfcError, SpecError

if TYPE_CHECKING:
    from mfc.target import File


@lru_cache
def load(name: str) -> Mapping[str, Any]:
    """The contract called `name`, such as deepspeed-0.19.8. Raises Fault when there is none."""
    import mfc.schemas

    path = Path(mfc.schemas.__path__[0], "contracts", f"{name}.json")
    try:
        schema: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Fault(f"the contract {name} cannot be read: {error}") from error
    return schema


def check(
    file: File, target: str, extra: Mapping[str, Any] | None = None, unchecked: Collection[str] | None = None
) -> None:
    """Check a file's data against its contract. `extra` are the user's native keys, `unchecked` those never checked.

    Raises SpecError when a key under `extra` is at fault, Fault when one that mfc wrote is.
    """
    if file.contract is None:
        return
    data = {key: value for key, value in quote.plain(file.data).items() if key not in (unchecked or ())}
    faults = [_fault(error, file, target, extra or {}) for error in _errors(load(file.contract), data)]
    if faults:
        # The user's own slips first: mending them may mend the rest.
        faults.sort(key=lambda fault: isinstance(fault, Fault))
        kind = type(faults[0])
        raise kind("\n".join(dict.fromkeys(str(fault) for fault in faults if isinstance(fault, kind))))


def _errors(schema: Mapping[str, Any], data: Mapping[str, Any]) -> list[Any]:
    from jsonschema.validators import Draft202012Validator, validator_for

    # A contract has hundreds of keys; the validator looks at each one it is given.
    known = schema.get("properties", {})
    narrow = {**schema, "properties": {key: known[key] for key in data if key in known}}
    validator: Any = validator_for(narrow, default=Draft202012Validator)
    return list(validator(narrow).iter_errors(data))


def _fault(error: Any, file: File, target: str, extra: Mapping[str, Any]) -> MfcError:
    path = [str(part) for part in error.absolute_path]
    text = _say(error)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        if not path:
            known = load(file.contract or "").get("properties", {})
        unknown = [key for key in error.instance if key not in known]
        theirs = [key for key in unknown if _within([*path, key], extra)]
        name = (theirs or unknown or ["?"])[0]
        path.append(name)
        text = f"{file.contract} knows no such key{_nearest(name, known)}"
        if theirs:
            text += "; if your version is newer and has it, put it under extra_unchecked"
    key = ".".join(path)
    if path and _within(path, extra):
        return SpecError(f"error: targets.{target}.extra.{key}: {text}")
    return Fault(f"error: {file.path}: {key or 'the whole'}: {text} (a fault of mfc's, not of your spec)")


def _say(error: Any) -> str:
    """What is wrong, in one line; of alternatives, what each would take."""
    parts = [_say(part) for part in error.context or ()] or [error.message]
    return "; or ".join(dict.fromkeys(parts))


def _nearest(name: str, known: Collection[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _within(path: Sequence[str], extra: Mapping[str, Any]) -> bool:
    """Whether the user wrote what stands at this path: nested, or as one dotted key."""
    if ".".join(path) in extra:
        return True
    here: Any = extra
    for part in path:
        if not isinstance(here, Mapping):
            return True  # inside a value that is the user's as a whole
        if part not in here:
            return False
        here = here[part]
    return True
