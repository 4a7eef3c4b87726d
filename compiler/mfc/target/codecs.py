"""Codecs: how a native key says what a plan says, and what can be read back from it.

A codec carries one plan field or several, writes a native value from them, and reads from a native value the values
that could have written it: a set for each field, for one word may stand for several values, and one field may be said
by several keys. The few that cannot be read say why. Fields are those of `mfc.fields`, parts of them
(`quantization.bits`), and what only the spec says, by its path there (`model.id`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.beside import is_local
from mfc.fields import BY_NAME, NEUTRAL
from mfc.spec.marks import show
from mfc.target.paths import located, named, spec_path
from mfc.target.values import at_key, equal, held
from mfc.target.when import When

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.profile import Profile


Reading = Mapping[str, tuple[Any, ...]]  # field -> the values that could have written a key; others stay open

LEFT_OUT: Any = object()  # written by a codec that has nothing to say: the key is not in the file


class Unwritten(ValueError):
    """No plan writes this value; the text says what could have stood there."""


class Writing(NamedTuple):
    """What a codec writes from: the plan, where its output lies, and what the file says so far."""

    plan: Plan
    out_to_spec: str  # relative path from the output folder to the spec's, with forward slashes
    data: Mapping[str, Any] = {}

    def value(self, field: str) -> Any:
        """What the plan says of a field, or the spec where it alone does."""
        return held(self.plan, field)


class Reader(NamedTuple):
    """What a codec reads against: what the target can say, where the file lies, and all that it holds."""

    profile: Profile
    out_to_spec: str
    data: Mapping[str, Any] = {}
    folder: str = ""  # the output folder, absolute, where it is known

    def domain(self, field: str) -> tuple[Any, ...]:
        """The values that a field can have on this target."""
        if field in NEUTRAL:
            return self.profile.can(field)
        return BY_NAME[field].values if field in BY_NAME else ()


class Codec(NamedTuple):
    """A way to say some fields. `one_way` is why it cannot be read; empty: it can.

    `cites` names the fields whose reasons are why this value stands in the file of a plan; None: those that it says.
    `fixed`: it says nothing, as mfc writes one value alone.
    """

    fields: tuple[str, ...]
    write: Callable[[Writing], Any]
    read: Callable[[Any, Reader], Reading]
    one_way: str = ""
    cites: Callable[[Plan], tuple[str, ...]] | None = None
    fixed: bool = False

    def citing(self, *fields: str) -> Codec:
        """The same, beside the reasons of these fields alone."""
        return self._replace(cites=lambda _: fields)

    def telling(self, told: Callable[[Any], Reading]) -> Codec:
        """The same, of whose value more can be told than the fields that it writes."""

        def read(value: Any, reader: Reader) -> Reading:
            return {**told(value), **self.read(value, reader)}

        return self._replace(read=read)

    def reasons(self, plan: Plan) -> tuple[str, ...]:
        """The fields whose reasons stand beside it."""
        return self.fields if self.cites is None else self.cites(plan)


def same(field: str) -> Codec:
    """The field as it is."""
    return Codec((field,), lambda at: at.value(field), lambda value, _: {field: (value,)})


def doubled(field: str) -> Codec:
    """Twice the field."""
    return Codec((field,), lambda at: 2 * at.value(field), lambda value, _: {field: (value // 2,)})


def whole(field: str) -> Codec:
    """A number, written without a fraction where it has none."""

    def write(at: Writing) -> int | float:
        value = float(at.value(field))
        return int(value) if value.is_integer() else value

    return Codec((field,), write, lambda value, _: {field: (value,)})


def counted(field: str, word: str, said: Any) -> Codec:
    """A number, and `said` where the field has a word instead."""

    def read(value: Any, _: Reader) -> Reading:
        return {field: (word if equal(value, said) else value,)}

    return Codec((field,), lambda at: said if at.value(field) == word else at.value(field), read)


def saves(codec: Codec) -> Codec:
    """When checkpoints are written, which says besides that all stay where no key beside it gives their number."""

    def cites(plan: Plan) -> tuple[str, ...]:
        return ("save_every", "keep") if plan.values["keep"] == "all" else ("save_every",)

    return codec._replace(fields=(*codec.fields, "keep"), cites=cites)


def text(field: str) -> Codec:
    """A whole number as text, as environment variables have it."""
    return Codec((field,), lambda at: str(at.value(field)), lambda value, _: {field: (int(value),)})


def minutes(field: str) -> Codec:
    """Seconds, written as text in minutes, rounded up."""

    def read(value: Any, _: Reader) -> Reading:
        return {field: tuple(range(60 * (int(value) - 1) + 1, 60 * int(value) + 1))}

    return Codec((field,), lambda at: str(-(-at.value(field) // 60)), read)


def words(field: str, table: Mapping[Any, Any], rest: Any = LEFT_OUT, others: Mapping[Any, Any] | None = None) -> Codec:
    """The framework's word for each value; `rest` is the word for all that the table does not name.

    `others` are words that mean the same as one of the table's and are never written: word -> value.
    """

    def write(at: Writing) -> Any:
        value = at.value(field)
        return table[value] if rest is LEFT_OUT else table.get(value, rest)

    def read(word: Any, reader: Reader) -> Reading:
        found = tuple(value for value, said in table.items() if equal(said, word))
        found += tuple(value for said, value in (others or {}).items() if equal(said, word))
        if rest is not LEFT_OUT and equal(rest, word):
            domain = reader.domain(field)
            if not domain:  # nobody can list the others
                return {}
            found += tuple(value for value in domain if value not in table)
        if not found:
            raise Unwritten(f"{word!r} is none of {', '.join(dict.fromkeys(map(str, table.values())))}")
        return {field: found}

    return Codec((field,), write, read)


def flag(field: str, *values: Any) -> Codec:
    """True for these values, false for the others."""

    def read(value: Any, reader: Reader) -> Reading:
        if not isinstance(value, bool):
            raise Unwritten(f"{value!r} is neither true nor false")
        others = tuple(one for one in reader.domain(field) if one not in values)
        return {field: values} if value else {field: others} if others else {}

    return Codec((field,), lambda at: at.value(field) in values, read)


def share(field: str) -> Codec:
    """A share below 1 of something, where the framework also takes a number of it, which is nothing that mfc says."""

    def read(value: Any, _: Reader) -> Reading:
        if not 0 <= value < 1:
            raise Unwritten(f"{value!r} is a number, and a spec says a share")
        return {field: (float(value),)}

    return Codec((field,), lambda at: at.value(field), read)


def negated(field: str) -> Codec:
    """True where the field is false."""
    return flag(field, False)


def only(field: str, *values: Any) -> Codec:
    """True for these values; for the others the key is left out."""
    asked = flag(field, *values)
    return asked._replace(write=lambda at: True if at.value(field) in values else LEFT_OUT)


def contains(field: str, item: str) -> Codec:
    """True where a list holds an item."""

    def read(value: Any, reader: Reader) -> Reading:
        return {field: tuple(one for one in reader.domain(field) if (item in one) == bool(value))}

    return Codec((field,), lambda at: item in at.value(field), read)


def constant(value: Any, *fields: str) -> Codec:
    """Always the same; `fields` are those that it serves, of which it tells nothing, nor do they say why it is this."""

    def read(found: Any, _: Reader) -> Reading:
        if not equal(found, value):
            raise Unwritten(f"mfc always has {show(value)} here, not {show(found)}")
        return {}

    return Codec(fields, lambda _: value, read, fixed=True).citing()


def joined(field: str, separator: str = ",") -> Codec:
    """A list as one text; an empty one is left out."""

    def write(at: Writing) -> Any:
        return separator.join(map(str, at.value(field))) or LEFT_OUT

    return Codec((field,), write, lambda value, _: {field: (tuple(str(value).split(separator)),)})


def items(field: str) -> Codec:
    """A list; an empty one is left out."""
    return Codec((field,), lambda at: list(at.value(field)) or LEFT_OUT, lambda value, _: {field: (tuple(value),)})


def single(codec: Codec) -> Codec:
    """A list of one."""

    def read(value: Any, reader: Reader) -> Reading:
        if len(value) != 1:
            raise Unwritten(f"{value!r} has {len(value)} items, not one")
        return codec.read(value[0], reader)

    return codec._replace(write=lambda at: [codec.write(at)], read=read)


def row(*fields: str) -> Codec:
    """A list with one item for each field."""

    def read(value: Any, _: Reader) -> Reading:
        return {field: (item,) for field, item in zip(fields, value, strict=True)}

    return Codec(fields, lambda at: [at.value(field) for field in fields], read)


def path(field: str) -> Codec:
    """A path of the spec as seen from the output folder, or the name of something on a hub as it is."""

    def write(at: Writing) -> Any:
        return named(at.value(field), at.out_to_spec)

    def read(value: Any, reader: Reader) -> Reading:
        return {field: spellings(value, reader) if is_local(value) else (value,)}

    return Codec((field,), write, read)


def file(field: str) -> Codec:
    """A file of the spec as seen from the output folder: a path even where no ./ says so."""
    return Codec(
        (field,),
        lambda at: located(at.value(field), at.out_to_spec),
        lambda value, reader: {field: spellings(value, reader)},
    )


def spellings(path: str, reader: Reader) -> tuple[str, ...]:
    """How a spec may have written the path of a data file that is seen from the output folder: ./x may be x."""
    found = spec_path(path, reader.out_to_spec, reader.folder)
    return tuple(dict.fromkeys((found, found.removeprefix("./"))))


def reference(key: str, *fields: str) -> Codec:
    """What another key of the file says, dotted where it nests: a framework that wants a thing said twice."""

    def read(value: Any, reader: Reader) -> Reading:
        try:
            other = at_key(reader.data, key)
        except KeyError:
            raise Unwritten(f"there is no {key} that says the same") from None
        if not equal(value, other):
            raise Unwritten(f"it is not what {key} says")
        return {}

    return Codec(fields, lambda at: at_key(at.data, key), read)


def either(usual: Codec, other: Codec, when: When, key: str, *values: Any) -> Codec:
    """One codec, and another where a condition holds; a file is of that kind where its `key` has one of `values`."""

    def write(at: Writing) -> Any:
        return (other if when(at.plan) else usual).write(at)

    def read(value: Any, reader: Reader) -> Reading:
        return (other if reader.data.get(key) in values else usual).read(value, reader)

    def cites(plan: Plan) -> tuple[str, ...]:
        return (other if when(plan) else usual).reasons(plan)

    return Codec(tuple(dict.fromkeys((*usual.fields, *other.fields))), write, read, cites=cites)


def one_way(write: Callable[[Writing], Any], *fields: str, because: str) -> Codec:
    """Written by a function that nothing inverts; `because` says why."""
    return Codec(fields, write, lambda _value, _reader: {}, because)
