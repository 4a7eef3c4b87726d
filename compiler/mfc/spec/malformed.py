"""What is wrong with a text that is not YAML, in mfc's own words.

libyaml, PyYAML's parser in Python and each release of either word one error differently, so none of their words are
shown: what stays the same in them picks one of the sentences here.
"""

from __future__ import annotations

from typing import NamedTuple


class Complaint(NamedTuple):
    """One sentence. `signs` are what any parser says of it, its context and problem joined; one of them is enough."""

    signs: tuple[str, ...]
    text: str
    hint: str = ""


_ESCAPE = r"a backslash in double quotes starts an escape: write \\, or use single quotes"

# The first that fits is said, so a context that explains every problem in it (a directive, a tag) comes early.
COMPLAINTS = (
    Complaint(
        ("directive", "incompatible YAML", "duplicate tag handle"),
        "this directive cannot be read",
        "a spec needs no lines that start with %",
    ),
    Complaint((" tag",), "this tag cannot be read", "a spec needs no tags; quote a value that starts with !"),
    Complaint(
        ("cannot start any token", "a tab character"),
        "nothing starts with this character",
        "indent with spaces, not tabs, and quote values that start with @, ` or %",
    ),
    Complaint(
        ("block scalar",),
        "after | or > only an indent from 1 to 9, + or - can stand",
        "quote a value that starts with | or >",
    ),
    Complaint(("an alias", "an anchor"), "an anchor or alias needs a name", "quote a value that starts with & or *"),
    Complaint(
        ("invalid Unicode character",), "this escape names no character", "half of a surrogate pair names no character"
    ),
    Complaint(("hexdecimal", "hexadecimal"), "this escape needs more hexadecimal digits", _ESCAPE),
    Complaint(("unknown escape",), "there is no such escape", _ESCAPE),
    Complaint(("quoted scalar",), "the document ends inside quotes", "a quote is not closed"),
    Complaint(("expected ':'",), "a key without its colon stands here", "every key needs a colon and a space after it"),
    Complaint(
        ("mapping values are not allowed", "unexpected ':'"),
        "no key can stand before this colon",
        'a value with ": " in it needs quotes; keys of one mapping start in one column',
    ),
    Complaint(
        ("entries are not allowed", "keys are not allowed"),
        "no item or key can start here",
        "items and keys start on lines of their own; quote a value that starts with - or ?",
    ),
    Complaint(
        ("expected ',' or",),
        "a comma or a closing bracket is missing before this",
        "a bracket is not closed, or a comma is missing",
    ),
    Complaint(
        ("node content",), "a value is missing before this", "quote a value that starts with a bracket or a comma"
    ),
    Complaint(("<document start>",), "the document has ended before this", "keys of one mapping start in one column"),
    Complaint(("a block collection",), "only another item can stand here", "items of one list start in one column"),
    Complaint(
        ("a block mapping",),
        "only another key can stand here",
        "keys of one mapping start in one column; nothing follows a value in quotes or brackets",
    ),
)
UNKNOWN = Complaint((), "it cannot be read")


def complaint(error: Exception) -> Complaint:
    """What to say of an error that a parser raised."""
    said = f"{getattr(error, 'context', None)}: {getattr(error, 'problem', None)}"
    if isinstance(error, (ValueError, OverflowError)):  # from `chr`, of an escape beyond Unicode
        said = "invalid Unicode character"
    return next((known for known in COMPLAINTS if any(sign in said for sign in known.signs)), UNKNOWN)


def too_deep(error: Exception) -> bool:
    """Whether the parser met a bound of its own on depth, as the libyaml in PyYAML 6.0.4 does."""
    return "nesting depth" in (getattr(error, "problem", None) or "")
