"""Native data against the framework's contract: a JSON Schema per version, extracted from the framework itself.

A key that the framework does not take is either the user's (under `extra`: an error that names it) or mfc's own fault.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mfc.emit import quote
from mfc.errors import Fault, SpecError
from mfc.spec.marks import show
from mfc.spec.native import without
from mfc.target.contracts import load

if TYPE_CHECKING:
    from mfc.target.outputs import File

_KINDS = {"object": dict, "array": list}
Blame = Callable[[str, str, Collection[str]], SpecError]

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}
_BOUNDS = {
    "const": "",
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def check(file: File, extra: Mapping[str, Any], unchecked: Mapping[str, Any], blame: Blame) -> None:
    """Check a file's data against its contract. `extra` are the user's native keys, `unchecked` those never checked.

    `blame(key, text, names)` makes the error for a key under `extra`: what is wrong, and the names it may have meant.
    Raises that, or Fault when a key that mfc wrote is wrong.
    """
    if file.contract is None:
        return
    data = without(quote.plain(file.data), unchecked)
    wrong = [problem for error in _errors(load(file.contract), data) for problem in _problems(error, file.contract)]
    theirs = [blame(".".join(path), text, names) for path, text, names in wrong if path and _within(path, extra)]
    if theirs:
        raise SpecError("\n".join(map(str, theirs)))
    if wrong:
        lines = [f"{file.path}: {'.'.join(path) or 'the whole'}: {text}" for path, text, _ in wrong]
        raise Fault("\n".join(f"error: {line} (a fault of mfc's, not of your spec)" for line in dict.fromkeys(lines)))


def _errors(schema: Mapping[str, Any], data: Mapping[str, Any]) -> list[Any]:
    from jsonschema.validators import Draft202012Validator, validator_for

    # A contract has hundreds of keys, and the validator looks at each; those that are not there have nothing to say.
    known = schema.get("properties", {})
    narrow = {**schema, "properties": {key: known[key] for key in data if key in known}}
    validator: Any = _by_value(validator_for(narrow, default=Draft202012Validator))
    return list(validator(narrow).iter_errors(data))


@lru_cache(maxsize=8)
def _by_value(validator: Any) -> Any:
    """A class of validators that passes over the conditions of an `allOf` which want another value of a key.

    A contract has one for each class that a config may name, and to walk them all at every call is most of its time.
    """
    from jsonschema import validators

    def all_of(validator: Any, conditions: Any, instance: Any, _: Any) -> Iterator[Any]:
        for place, condition in enumerate(conditions):
            if not _of_another(condition, instance):
                yield from validator.descend(instance, condition, schema_path=place)

    extend: Any = validators.extend
    return extend(validator, {"allOf": all_of})


def _of_another(condition: Any, instance: Any) -> bool:
    """Whether a condition is about instances of another type, or with another text at a key than this one has."""
    if not isinstance(condition, dict) or "if" not in condition or condition.keys() - {"if", "then"}:
        return False
    asked = condition["if"]
    if not isinstance(asked, dict):
        return False
    if isinstance(kind := asked.get("type"), str) and kind in _KINDS and not isinstance(instance, _KINDS[kind]):
        return True
    if not isinstance(instance, dict):
        return False
    for key, wanted in asked.get("properties", {}).items():
        text = wanted.get("const") if isinstance(wanted, dict) else None
        there = instance.get(key)
        if isinstance(text, str) and isinstance(there, str) and there != text:
            return True
    return False


def _problems(error: Any, name: str) -> list[tuple[list[str], str, Collection[str]]]:
    """Path, text and possible names, for each key that an error is about."""
    path = [str(part) for part in error.absolute_path]
    if error.validator != "additionalProperties":
        return [(path, _say(error), ())]
    known = error.schema.get("properties", {}) if path else load(name).get("properties", {})
    text = f"{name} knows no such key; if your version is newer and has it, put it under extra_unchecked"
    return [([*path, key], text, known) for key in error.instance if key not in known]


def _say(error: Any) -> str:
    """What is wrong, in one line; the validator's own words change with its version."""
    if error.validator == "required":
        absent = _absent(error)
        return f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing"
    return f"must be {_wanted(error)}, not {_show(error.instance)}"


def _wanted(error: Any) -> str:
    """What the contract takes where an error stands; of alternatives, what each would take."""
    if error.context:
        return "; or ".join(dict.fromkeys(map(_alternative, error.context)))
    wanted = error.validator_value
    match error.validator:
        case "type":
            return " or ".join(_TYPES[name] for name in ([wanted] if isinstance(wanted, str) else wanted))
        case "enum":
            return ("one of " if len(wanted) > 1 else "") + ", ".join(dict.fromkeys(map(_show, wanted)))
        case "required":
            return f"a mapping with {', '.join(_absent(error))}"
        case "additionalProperties":
            unknown = [key for key in error.instance if key not in error.schema.get("properties", {})]
            return f"a mapping without {', '.join(unknown)}"
        case other:
            return f"{_BOUNDS.get(other, f'what {other} asks:')} {_show(wanted)}".lstrip()


def _alternative(error: Any) -> str:
    inside = ".".join(f"item {part}" if isinstance(part, int) else part for part in error.relative_path)
    return f"a value whose {inside} is {_wanted(error)}" if inside else _wanted(error)


def _absent(error: Any) -> list[str]:
    return [key for key in error.validator_value if key not in error.instance]


def _show(value: object) -> str:
    return "null" if value is None else show(value)


def _within(path: Sequence[str], tree: Mapping[str, Any]) -> bool:
    """Whether the user wrote what stands at this path."""
    here: Any = tree
    for part in path:
        if not isinstance(here, Mapping):
            return True  # inside a value that is the user's as a whole
        if part not in here:
            return False
        here = here[part]
    return True
