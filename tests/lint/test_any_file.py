"""Whatever a file holds, lint and diff tell of it, or say in a line why not: no traceback."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mfc import diff, emit, lint
from mfc.diff import show as compared
from mfc.errors import Fault, MfcError
from mfc.lint import show
from mfc.target import imports as imports_of
from mfc.target import names

from tests.imports.test_any_file import STREWN, mangled
from tests.targets import cases

MANGLED, RANDOM = 8, 40


@pytest.mark.parametrize("target", [name for name in names() if imports_of(name)])
def test_mangled_files_end_in_no_traceback(target: str, tmp_path: Path) -> None:
    rng = random.Random(f"lint {target}")
    one = cases.compiled(target, rng.choice(cases.good(target)), tmp_path)
    emit.write(one, True)
    kept = [file for file in one.files if Path(file).suffix in (".yaml", ".json", ".sh", ".py")]
    start = cases.started(one)
    whole = str(tmp_path / f"whole{Path(start).suffix}")
    Path(whole).write_bytes(Path(start).read_bytes() if Path(start).is_file() else b"")
    for number in range(MANGLED):
        name = rng.choice(kept)
        (one.out / name).write_bytes(mangled(one.files[name], rng).encode("utf-8", "replace"))
        hardware = rng.choice((None, "2x A100-80G", "RTX 4060 Ti 16GB"))
        path = rng.choice((str(one.out / name), start))
        _tried(path, whole if number % 2 else path, hardware)
        (one.out / name).write_text(one.files[name], encoding="utf-8")


def test_bytes_at_random_end_in_no_traceback(tmp_path: Path) -> None:
    rng = random.Random(2)
    for number in range(RANDOM):
        path = tmp_path / f"{number}{rng.choice(('.yaml', '.json', '.sh', '.py', ''))}"
        signs = bytes(range(256)) if number % 2 else "".join(STREWN).encode()
        path.write_bytes(bytes(rng.choices(signs, k=rng.randint(0, 400))))
        _tried(str(path), str(path), None)


def _tried(path: str, other: str, hardware: str | None) -> None:
    with _no_fault():
        found = lint.lint(path, None, hardware)
        assert show.text(found)
        assert show.document(found)["exit_code"] in (0, 2, 3)
        assert all(way.texts for way in found.mends)
    with _no_fault():
        one = diff.diff(path, other, None, hardware)
        assert compared.text(one)
        assert one.exit_code == (0 if compared.document(one)["equal"] else 1)


@contextmanager
def _no_fault() -> Iterator[None]:
    """Let through what is refused clearly."""
    try:
        yield
    except Fault:
        raise
    except MfcError:
        pass
