"""From the parts of a run to what it says of the fields of a plan: keys first, then what the framework does without.

A key that goes with values which other keys exclude says nothing: `freeze_trainable_layers` beside adapters. What the
framework has by default counts only where nothing that was written says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mfc.fields import BY_NAME, NEUTRAL
from mfc.imports import typed
from mfc.imports.expand import unknown
from mfc.profile import Profile
from mfc.target import contracts
from mfc.target.codecs import Codec, Reader, Reading, Unwritten
from mfc.target.importing import Part, Place, Settings
from mfc.target.keys import Key
from mfc.target.outputs import place as put
from mfc.target.values import at_key, equal

UNSAID = "the script does not say what it is"


class Fact(NamedTuple):
    """One key of one part, and what came of it: the fields that it tells, or why it tells nothing."""

    part: str
    key: str
    value: Any
    fields: tuple[str, ...] = ()
    note: str = ""
    unread: bool = False  # its value is nothing that can be said
    assumed: bool = False  # the framework's default: the file does not have the key
    cause: str = ""  # of a note, as `rows.CAUSES` has them


class Told(NamedTuple):
    """What a run says: by field one value, the facts behind it, and the parts with values of the right types."""

    values: Mapping[str, Any]
    facts: tuple[Fact, ...]
    parts: tuple[Part, ...]

    @property
    def written(self) -> frozenset[str]:
        """The fields that the files say themselves."""
        return frozenset(field for fact in self.facts if not fact.assumed for field in fact.fields)


def gather(settings: Settings, profile: Profile, place: Place) -> Told:
    """Read every part of a run."""
    parts = tuple(part._replace(data=typed.settled(part.data, _contract(part))) for part in settings.parts)
    reader = _Gatherer(profile, place, dict(settings.told))
    for conditional in (False, True):
        for part in parts:
            reader.written(part, conditional=conditional)
    for conditional in (False, True):
        for part in parts:
            reader.assumed(part, conditional=conditional)
        reader.choose()
    return Told({field: found[0] for field, found in reader.values.items() if found}, tuple(reader.facts), parts)


def _contract(part: Part) -> Mapping[str, Any]:
    return contracts.load(part.contract) if part.contract else {}


class _Gatherer:
    """What is known so far: for each field the values that are left."""

    def __init__(self, profile: Profile, place: Place, values: dict[str, tuple[Any, ...]]) -> None:
        self.profile, self.place, self.values = profile, place, values
        self.facts: list[Fact] = []

    def written(self, part: Part, *, conditional: bool) -> None:
        """The keys that a part holds."""
        reader = self._reader(part)
        for key in part.keys:
            if (key.when is not None) is not conditional:
                continue
            try:
                value = at_key(part.data, key.name)
            except KeyError:
                continue
            if key.name in part.taken or (part.auto and value == part.auto):
                self.facts.append(Fact(part.name, key.name, value, key.fields))
            elif key.name in part.idle:
                self.facts.append(Fact(part.name, key.name, value, note=part.idle[key.name], cause="idle"))
            else:
                self.facts.append(self._read(part, key, value, reader))

    def assumed(self, part: Part, *, conditional: bool) -> None:
        """The keys that a part leaves out, as the framework has them by default."""
        reader, contract = self._reader(part), _contract(part)
        for key in part.keys:
            if (key.when is not None) is not conditional or _has(part.data, key.name) or key.codec.one_way:
                continue
            value = part.defaults.get(key.name, typed.default(key.name, contract))
            if value is None or self._excluded(key):
                continue
            reading = _reading(key.codec, value, reader)
            if isinstance(reading, str) or any(self._left(field, some) == () for field, some in reading.items()):
                continue
            new = tuple(field for field in reading if field not in self.values)
            self._narrow(reading)
            if new:
                self.facts.append(Fact(part.name, key.name, value, new, assumed=True))

    def choose(self) -> None:
        """Of several values that are left, the one that the framework knows best."""
        for field, found in self.values.items():
            if len(found) > 1:
                best = self.profile.can(field) if field in NEUTRAL else ()
                self.values[field] = (next((one for one in best if one in found), found[0]),)

    def _read(self, part: Part, key: Key, value: Any, reader: Reader) -> Fact:
        fact = Fact(part.name, key.name, value)
        if isinstance(value, str) and unknown(value) and not isinstance(_reading(key.codec, value, reader), Mapping):
            return fact._replace(note=UNSAID, cause="unsaid")
        if reason := self._excluded(key):
            if key.codec.fixed:  # of it alone mfc does not know whether the framework looks at it all the same
                return fact._replace(
                    note=f"mfc writes it for other runs: {reason.partition(': ')[2]}", cause="elsewhere"
                )
            return fact._replace(note=reason, cause="no-effect")
        if not typed.fits(value, key.name, _contract(part)):
            note = f"{value!r} is nothing that {part.contract} takes"
            return fact._replace(note=note, unread=True, cause="bad-value")
        reading = _reading(key.codec, value, reader)
        if isinstance(reading, str):
            return fact._replace(note=reading, unread=True)
        if against := [field for field, some in reading.items() if self._left(field, some) == ()]:
            said = ", ".join(f"{field} is {_listed(self.values[field])}" for field in against)
            return fact._replace(note=f"other keys have the last word: {said}", cause="overruled")
        self._narrow(reading)
        return fact._replace(fields=tuple(reading) or key.fields)

    def _reader(self, part: Part) -> Reader:
        """What codecs look at beside their own key, defaults included."""
        data: dict[str, Any] = {}
        contract = _contract(part)
        for key in part.keys:
            if "." not in key.name and (known := part.defaults.get(key.name, typed.default(key.name, contract))):
                data[key.name] = known
        data.update(part.data)
        return Reader(self.profile, self.place.out_to_spec, data, self.place.folder)

    def _excluded(self, key: Key) -> str:
        """Why a key has no effect: it goes with values that are excluded."""
        for field, some in key.when.tells.items() if key.when else ():
            if self._left(field, some) == ():
                now = _listed(self.values[field])
                return f"has no effect here: it goes with {field} {_listed(some)}, and that is {now}"
        return ""

    def _left(self, field: str, some: tuple[Any, ...]) -> tuple[Any, ...]:
        """What is left of a field's values beside some more."""
        known = self.values.get(field)
        return some if known is None else tuple(one for one in known if any(equal(one, each) for each in some))

    def _narrow(self, reading: Reading) -> None:
        for field, some in reading.items():
            self.values[field] = self._left(field, some)


def _reading(codec: Codec, value: Any, reader: Reader) -> Reading | str:
    """What a value tells, or why it tells nothing."""
    try:
        told = codec.read(value, reader)
        return {field: _known(field, some, value) for field, some in told.items()}
    except Unwritten as error:
        return str(error)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return f"{value!r} cannot be read"


def _known(field: str, some: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    """The values of these that the field can have. Raises Unwritten where there are none."""
    every = BY_NAME[field].values if field in BY_NAME else None
    found = some if every is None else tuple(one for one in some if one in every)
    if some and not found:
        raise Unwritten(f"{value!r} is nothing that mfc can say of {field}")
    return found


def _has(data: Mapping[str, Any], name: str) -> bool:
    try:
        at_key(data, name)
    except KeyError:
        return False
    return True


def rest(part: Part) -> dict[str, Any]:
    """The dotted keys of a part that none of its rows carries, with their values."""
    names = [key.name for key in part.keys]
    return {
        path: value
        for path, value in leaves(part.data, "")
        if not any(path == name or path.startswith(f"{name}.") for name in names)
    }


def leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """What a tree of mappings holds, each with its dotted path."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nested(found: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as mappings."""
    made: dict[str, Any] = {}
    for name, value in found.items():
        put(made, name, value)
    return made


def _listed(values: tuple[Any, ...]) -> str:
    return " or ".join(map(str, values)) or "nothing"
