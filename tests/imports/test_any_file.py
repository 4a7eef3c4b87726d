"""Whatever a file holds, import, lint and convert read it or say in a line why not: no traceback.

Files are bytes at random, and files of every kind that are read, mangled: bytes and lines lost, doubled, swapped and
strewn with what means something to a parser.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from mfc import emit, imports, lint
from mfc.errors import Fault, MfcError
from mfc.imports import converted
from mfc.imports.convert import convert
from mfc.lint import show
from mfc.target import imports as imports_of
from mfc.target import names

from tests.targets import cases

IMPORTED = [name for name in names() if imports_of(name)]
MANGLED, RANDOM = 150, 60
STREWN = (
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        "- ",
        "'",
        '"',
        "$",
        "${",
        "$((",
        "<<EOF\n",
        "\n",
        "\0",
        "\\",
        "(",
        "`",
        "&a",
        "*a",
        "!x",
    ),
    *("null", "-1", "1e999", ".nan", "0", "[]", "{}", "true", "auto", "é", "\u2028", "--", "=", "99999999999999999999"),
)


def mangled(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 6)):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        place = rng.randrange(len(text) + 1)
        match rng.randrange(6):
            case 0:
                text = "\n".join(lines[:at] + lines[at + 1 :])
            case 1:
                text = "\n".join([*lines[:at], lines[at], *lines[at:]])
            case 2:
                text = text[:place] + rng.choice(STREWN) + text[place:]
            case 3:
                text = text[:place] + text[place + rng.randint(1, 20) :]
            case 4:
                head, mark, _ = lines[at].partition(": " if ":" in lines[at] else " ")
                text = "\n".join([*lines[:at], head + mark + rng.choice(STREWN), *lines[at + 1 :]])
            case 5:
                text = text[:place]
    return text


def refusal(path: Path, target: str | None, hardware: str | None) -> MfcError | None:
    """What import says against a file."""
    try:
        imports.read(str(path), target, hardware, path.parent)
    except MfcError as error:
        return error
    return None


def tried(path: Path, target: str | None, hardware: str | None) -> bool:
    """Whether a file was read; a refusal is one clear text, and never mfc's own fault."""
    error = refusal(path, target, hardware)
    assert not isinstance(error, Fault), error
    assert error is None or "error:" in str(error)
    return error is None


def told(tell: Callable[[], object]) -> None:
    """Call what ends in an answer or in a refusal."""
    refused: MfcError | None = None
    try:
        assert tell()
    except MfcError as error:
        refused = error
    assert not isinstance(refused, Fault), refused
    assert refused is None or "error:" in str(refused)


def linted(path: Path, target: str) -> object:
    return show.document(lint.lint(str(path), target, "RTX 4090"))


def converted_of(path: Path, target: str, to: str) -> object:
    return converted.document(convert(imports.read(str(path), target, "2x A100-80G", path.parent), to))


@pytest.mark.parametrize("target", IMPORTED)
def test_mangled_files_end_in_no_traceback(target: str, folder: Path) -> None:
    rng = random.Random(target)
    every = [cases.compiled(target, name, folder) for name in rng.choices(cases.good(target), k=6)]
    for number in range(MANGLED):
        one = rng.choice(every)
        emit.write(one, True)
        name = rng.choice([file for file in one.files if Path(file).suffix in (".yaml", ".json", ".sh", ".py")])
        path = one.out / name
        path.write_bytes(mangled(one.files[name], rng).encode("utf-8", "replace"))
        beside = next((file for file in one.files if file.endswith(".sh")), name)
        file = one.out / rng.choice((name, beside))
        tried(file, target, "2x A100-80G" if number % 10 == 0 else None)
        if number % 15 == 0:
            told(partial(linted, file, target))
        if number % 15 == 5:
            told(partial(converted_of, file, target, rng.choice([other for other in names() if other != target])))


def test_bytes_at_random_end_in_no_traceback(tmp_path: Path) -> None:
    rng = random.Random(1)
    for number in range(RANDOM):
        path = tmp_path / f"{number}{rng.choice(('.yaml', '.json', '.sh', '.py', ''))}"
        signs = bytes(range(256)) if number % 2 else "".join(STREWN).encode()
        path.write_bytes(bytes(rng.choices(signs, k=rng.randint(0, 400))))
        assert not tried(path, rng.choice((None, *IMPORTED)), None)


@pytest.mark.parametrize(
    "text", ["(" * 20_000, "[" * 20_000, "a: &a [*a]", '{"a":' * 5_000, "$(" * 5_000, "x=" * 9_000]
)
@pytest.mark.parametrize("suffix", [".yaml", ".json", ".sh"])
def test_what_nests_or_repeats_without_end_is_refused(text: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"x{suffix}").write_text(text, encoding="utf-8")
    assert not tried(tmp_path / f"x{suffix}", None, None)
