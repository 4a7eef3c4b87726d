"""The kinds of value a field of the spec may hold, each with its own words for what is allowed.

A kind is metadata for `typing.Annotated`: pydantic calls its one plain validator instead of trying the members of a
union, which keeps start-up short and error messages free of union branches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic_core import PydanticCustomError, core_schema

from mfc.lengths import PERCENTS
from mfc.spec import checks, quantities

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

Auto = Literal["auto"]
Json = dict[str, Any]
Check = Callable[[object], object]


class Range(NamedTuple):
    """Room that mfc may use: a whole number from `min` to `max`, both included."""

    min: int
    max: int


def refuse(text: str, *, at: str = "") -> PydanticCustomError:
    """A combination that a model does not allow: a whole sentence, and the path below the model that is to blame."""
    return PydanticCustomError("mfc", "{text}", {"text": text, "at": at})


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of value.

    `check` returns the plain value, or raises ValueError with words better than `allowed`; `schema` is for editors.
    """

    allowed: str
    check: Check
    schema: Json
    words: tuple[str, ...] = ()  # what else it may be

    def _validate(self, value: object) -> object:
        try:
            return self.check(value)
        except ValueError as error:
            context = {"allowed": str(error) or self.allowed, "words": self.words}
            raise PydanticCustomError("mfc_kind", "{allowed}", context) from None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        return dict(self.schema)


def also(kind: Kind, *words: str) -> Kind:
    """The same kind, which may also be one of a few words, `auto` for instance."""

    def check(value: object) -> object:
        if isinstance(value, str) and value in words:
            return value
        try:
            return kind.check(value)
        except ValueError as error:
            # The kind alone does not know of the words.
            raise ValueError("" if str(error) == kind.allowed else str(error)) from None

    allowed = f"{kind.allowed}, or {' or '.join(words)}"
    return Kind(allowed, check, {"anyOf": [{"enum": list(words)}, kind.schema]}, words)


def spanning(kind: Kind) -> Kind:
    """The same kind of whole number, which may also be a range {min, max}."""

    def check(value: object) -> object:
        if isinstance(value, Range):
            value = {"min": value.min, "max": value.max}
        if not isinstance(value, dict):
            return kind.check(value)
        low, high = value.get("min"), value.get("max")
        if len(value) != 2 or not isinstance(low, int) or not isinstance(high, int):
            raise ValueError("")
        kind.check(low), kind.check(high)
        if low > high:
            raise ValueError("a range whose min is at most its max")
        return Range(low, high)

    schema = {
        "type": "object",
        "properties": {"min": kind.schema, "max": kind.schema},
        "required": ["min", "max"],
        "additionalProperties": False,
    }
    return Kind(f"{kind.allowed}, or a range {{min, max}}", check, {"anyOf": [kind.schema, schema]})


def whole(minimum: int = 0, maximum: int = 2**31 - 1) -> Kind:
    """A whole number; 4.0 and "4" are none."""
    allowed = f"a whole number of at least {minimum}"

    def check(value: object) -> object:
        if type(value) is not int or value < minimum:
            raise ValueError("")
        if value > maximum:
            raise ValueError(f"a whole number from {minimum} to {maximum}")
        return value

    return Kind(allowed, check, {"type": "integer", "minimum": minimum, "maximum": maximum})


def number(*, positive: bool) -> Kind:
    """A finite number above zero, or of at least zero."""
    allowed = "a number above 0" if positive else "a number of at least 0"

    def check(value: object) -> object:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
            raise ValueError("")
        if positive and not value:
            raise ValueError("")
        return float(value)

    return Kind(allowed, check, {"type": "number", "exclusiveMinimum" if positive else "minimum": 0})


def words(*allowed: str) -> Kind:
    """A list of some of a few words."""

    def check(value: object) -> object:
        if not isinstance(value, (list, tuple)) or not all(item in allowed for item in value):
            raise ValueError("")
        return tuple(value)

    return Kind(
        f"a list of {', '.join(allowed)}",
        check,
        {"type": "array", "items": {"enum": list(allowed)}, "uniqueItems": True},
    )


_TEXT = {"type": "string", "minLength": 1, "pattern": "^[^-]"}
_MODULE = {"type": "string", "minLength": 1, "pattern": "^[^-,][^,]*$"}
TEXT = Kind("text", checks.text, _TEXT)
# Text that YAML may take for a number: 4090, 0.10, 1e10. The loader gives it as it was written.
LABEL = Kind("text", checks.text, {**_TEXT, "type": ["string", "number"]})
PROMPT = Kind("text", checks.prompt, {"type": "string", "pattern": "^(?!-+[A-Za-z_])"})
NAMES = Kind("a list of names", checks.names, {"type": "array", "items": _TEXT})
WORDS = Kind("a list of words", checks.arguments, {"type": "array", "items": {"type": "string"}})
MODULES = Kind("a list of names", checks.modules, {"type": "array", "items": _MODULE})
SOME_MODULES = Kind("a list of names", checks.some_modules, {"type": "array", "items": _MODULE, "minItems": 1})
INDICES = Kind(
    "a list of device indices such as [0, 1]",
    checks.indices,
    {"type": "array", "items": {"type": "integer", "minimum": 0}, "uniqueItems": True},
)
FLAG = Kind("true or false", checks.flag, {"type": "boolean"})
SIZE = Kind(quantities.SIZE, quantities.size, {"type": "string", "pattern": quantities.SIZE_PATTERN})
BANDWIDTH = Kind(
    quantities.BANDWIDTH, quantities.bandwidth, {"type": "string", "pattern": quantities.BANDWIDTH_PATTERN}
)
TIME = Kind(quantities.TIME, quantities.time, {"type": "string", "pattern": quantities.TIME_PATTERN})
PRICE = Kind(
    quantities.PRICE,
    quantities.price_or_file,
    {"type": "string", "anyOf": [{"pattern": quantities.PRICE_PATTERN}, {"pattern": "^[^-].*\\.ya?ml$"}]},
)
VERSION = Kind("1, the version of the language that this mfc reads", checks.version, {"const": 1})
FILES = Kind("a path or a list of paths", checks.files, {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]})
_RELEASE_SCHEMA = {"type": ["string", "number"], "pattern": quantities.RELEASE_PATTERN}
RELEASE = Kind(quantities.RELEASE, checks.release, _RELEASE_SCHEMA)
PACKAGES = Kind(
    "a mapping of package names to versions",
    checks.packages,
    {"type": "object", "additionalProperties": {"anyOf": [_RELEASE_SCHEMA, {"type": "null"}]}},
)
NATIVE = Kind("a mapping of the framework's own keys", checks.native, {"type": "object"})
NESTED = Kind(NATIVE.allowed, checks.names_of_framework, NATIVE.schema)
_FRACTION_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": quantities.PERCENT_PATTERN}]
}
FRACTION = Kind(quantities.FRACTION, quantities.fraction, _FRACTION_SCHEMA)
STEPS = Kind(
    quantities.STEPS,
    quantities.steps,
    {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
            {"type": "string", "pattern": quantities.PERCENT_PATTERN},
        ]
    },
)
EVALUATION = Kind(
    "a share of the training data such as 2%, the path of a file, or none",
    checks.evaluation,
    {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, _TEXT]},
)
QUANTILES = Kind(
    f"the {len(PERCENTS)} lengths that mfc data --write measures, none of them below the one before",
    checks.quantiles,
    {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": len(PERCENTS), "maxItems": len(PERCENTS)},
)
DIGEST = Kind("a SHA-256 digest, 64 hexadecimal digits", checks.digest, {"type": "string", "pattern": "^[0-9a-f]{64}$"})
ELEMENTS = Kind("a number of elements such as 5e8", checks.elements, {"type": "number", "minimum": 0})
BETAS = Kind(
    "two fractions such as [0.9, 0.999]",
    checks.betas,
    {"type": "array", "items": {"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "minItems": 2, "maxItems": 2},
)
NUMBERS = Kind("a list of numbers such as [1, 0.5]", checks.numbers, {"type": "array", "items": {"type": "number"}})
CAPABILITY = Kind("a CUDA compute capability such as 8.6", checks.capability, {"type": ["string", "number"]})

# The types that fields are declared with. `Auto…` may be "auto": mfc decides.
Text = Annotated[str, TEXT]
Label = Annotated[str, LABEL]
AutoRelease = Annotated[str, also(RELEASE, "auto")]
Prompt = Annotated[str, PROMPT]
Names = Annotated[tuple[str, ...], NAMES]
Modules = Annotated[tuple[str, ...], MODULES]
Numbers = Annotated[tuple[float, ...], NUMBERS]
Quantiles = Annotated[tuple[int, ...], QUANTILES]
Digest = Annotated[str, DIGEST]
Indices = Annotated[tuple[int, ...], INDICES]
Flag = Annotated[bool, FLAG]
AutoFlag = Annotated[bool | Auto, also(FLAG, "auto")]
Whole = Annotated[int, whole(0)]
Count = Annotated[int, whole(1)]
AutoWhole = Annotated[int | Auto, also(whole(0), "auto")]
AutoCount = Annotated[int | Auto, also(whole(1), "auto")]
AutoElements = Annotated[int | Auto, also(ELEMENTS, "auto")]
CountOrRange = Annotated[int | Range | Auto, also(spanning(whole(1)), "auto")]
Number = Annotated[float, number(positive=False)]
Positive = Annotated[float, number(positive=True)]
AutoNumber = Annotated[float | Auto, also(number(positive=False), "auto")]
AutoPositive = Annotated[float | Auto, also(number(positive=True), "auto")]
Steps = Annotated[int | float, STEPS]
Size = Annotated[int, SIZE]
AutoSize = Annotated[int | Auto, also(SIZE, "auto")]
AutoTime = Annotated[int | Auto, also(TIME, "auto")]
AutoBandwidth = Annotated[float | Auto, also(BANDWIDTH, "auto")]
Fraction = Annotated[float, FRACTION]
AutoFraction = Annotated[float | Auto, also(FRACTION, "auto")]
